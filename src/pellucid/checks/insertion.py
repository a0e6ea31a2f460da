"""How fast does the answer come back when parts are shown again, the map's strongest first?  The area under that curve.

Petsiuk et al. 2018, with log-odds in place of the probability.  As in the paper: `unit="probability", fill="blur",
sigma=5`, 224 places a step (the paper cuts its blur off at 11 places).
"""

from __future__ import annotations

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.areas import area_under
from pellucid.trials.ordered import Infill, Randoms, Removal, Sigma, Steps, Unit, Value


@measure(
    title="Insertion",
    family="faithfulness",
    paper="Petsiuk, Das, Saenko 2018, arXiv:1806.07421",
    better="higher",
    cost="(1 + `randoms`) x (`steps` - 1) + 2 forward passes a sample",
)
def insertion(
    explanation: Explanation,
    *,
    steps: Steps = 16,
    randoms: Randoms = 1,
    fill: Infill = None,
    value: Value = 0.0,
    sigma: Sigma = None,
    unit: Unit = "log_odds",
) -> Check:
    """The mean of the answer while parts are put back into nothing but infill, the most relevant first: high is good.

    In the unit asked for: nats of log-odds, or a probability in 0..1.  "random": the same by random maps, which are
    this one flipped and rolled over the edge.  Signed maps are taken with their sign, unsigned ones as they are; ties
    are broken by one seeded draw.  An infill painted from the surroundings begins as the sample's mean.  Curves:
    "places" put back, "map", "random".  UNKNOWN for maps that are the same everywhere.  Raises `Missing` when the
    explanation came without its network, `BadInput` when its input has no places, `BadOption` when a probability is
    asked of what has none or the infill does not fit the input.

    >>> import torch, pellucid as pl
    >>> line = torch.nn.Linear(3, 1, bias=False); line.weight.data = torch.tensor([[1.0, 3.0, 2.0]])
    >>> found = insertion(pl.methods.input_x_gradient(line, torch.ones(1, 3), 0))
    >>> found.curves[1], round(found.value, 4)
    (('map', (0.0, 3.0, 5.0, 6.0)), 3.6667)
    """
    return area_under("insertion", explanation, Removal(fill, value, sigma), unit, steps, randoms, restored=True)
