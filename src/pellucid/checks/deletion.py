"""How fast does the answer fall when parts are removed, the map's strongest first?  The area under that curve.

Petsiuk et al. 2018, with two repairs.  Log-odds in place of the probability: where a network is sure, the probability
stays at 1 until nearly everything is gone.  And a picture's parts are painted from what is left in place of turned
black.  Measured on planted truth (notes of `faithfulness`) this curve orders maps worse than shared probes do; it is
here because it is widely reported.  As in the paper: `unit="probability", fill="constant"`, 224 places a step.
"""

from __future__ import annotations

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.areas import area_under
from pellucid.trials.ordered import Infill, Randoms, Removal, Sigma, Steps, Unit, Value


@measure(
    title="Deletion",
    family="faithfulness",
    paper="Petsiuk, Das, Saenko 2018, arXiv:1806.07421",
    better="lower",
    cost="(1 + `randoms`) x (`steps` - 1) + 2 forward passes a sample",
)
def deletion(
    explanation: Explanation,
    *,
    steps: Steps = 16,
    randoms: Randoms = 1,
    fill: Infill = None,
    value: Value = 0.0,
    sigma: Sigma = None,
    unit: Unit = "log_odds",
) -> Check:
    """The mean of the answer while parts are removed, the most relevant first: low where the map is right.

    In the unit asked for: nats of log-odds, or a probability in 0..1.  "random": the same by random maps, which are
    this one flipped and rolled over the edge.  Signed maps are taken with their sign, unsigned ones as they are; ties
    are broken by one seeded draw.  Curves: "places" removed, "map", "random".  UNKNOWN for maps that are the same
    everywhere.  Raises `Missing` when the explanation came without its network, `BadInput` when its input has no
    places, `BadOption` when a probability is asked of what has none or the infill does not fit the input.

    >>> import torch, pellucid as pl
    >>> line = torch.nn.Linear(3, 1, bias=False); line.weight.data = torch.tensor([[1.0, 3.0, 2.0]])
    >>> found = deletion(pl.methods.input_x_gradient(line, torch.ones(1, 3), 0))
    >>> found.curves[1], round(found.value, 4)  # 6 less 3, 2 and 1
    (('map', (6.0, 3.0, 1.0, 0.0)), 2.3333)
    """
    return area_under("deletion", explanation, Removal(fill, value, sigma), unit, steps, randoms, restored=False)
