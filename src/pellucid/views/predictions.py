"""What the network answers: its most likely classes, for the sentence at the top and the bars beside the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.head import Head
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.views.view import Bar, Bars


@dataclass(frozen=True, slots=True)
class Prediction:
    """One sample's classes, the most likely first: (index, name, share in 0..1), the first five; and the sentence
    that says how the shares were found.  Of one score's two answers, the one of a low score has the index -1.
    """

    top: tuple[tuple[int, str, float], ...]
    how: str


def predictions(explanation: Explanation, most: int = 5) -> tuple[Prediction, ...] | None:
    """The classes of each sample; None where the network is not at hand or does not put out one row of classes."""
    if explanation.net is None:
        return None
    try:
        outputs = Score(explanation.net, explanation.of).outputs(explanation.x)
    except PellucidError:
        return None
    if outputs.ndim != 2 or not bool(torch.isfinite(outputs).all()):
        return None
    if outputs.shape[1] == 1:
        return _yes_or_no(explanation.net, outputs[:, 0].detach().cpu().double())
    shares, how = _shares(outputs.detach().cpu().double())
    return tuple(_one(row, explanation, how, most) for row in shares)


def _yes_or_no(net: Network, scores: Tensor) -> tuple[Prediction, ...] | None:
    """The two answers of a single score, where it is known to be one: by its sigmoid, or by its two names."""
    head = net.head or Head(1)
    if head.unit == "score" and not net.negative:
        return None
    how = "as put out by the network" if head.unit == "probability" else "sigmoid of the network's output"
    yes, no = (net.label(0), net.negative) if net.labels else ("yes (class 0)", "no")
    return tuple(
        Prediction(((0, yes, p), (-1, no, 1 - p)) if p >= 0.5 else ((-1, no, 1 - p), (0, yes, p)), how)
        for p in head.share(scores).clamp(0, 1).tolist()
    )


def _shares(outputs: Tensor) -> tuple[Tensor, str]:
    """Outputs that are probabilities already stay as they are."""
    ready = bool((outputs >= 0).all()) and bool(((outputs.sum(1) - 1).abs() < 1e-4).all())
    return (outputs, "as put out by the network") if ready else (outputs.softmax(1), "softmax of the network's outputs")


def _one(row: Tensor, explanation: Explanation, how: str, most: int) -> Prediction:
    values, order = row.sort(descending=True, stable=True)
    top = tuple(
        (int(i), class_name(explanation, int(i)), float(v)) for v, i in zip(values[:most], order[:most], strict=True)
    )
    return Prediction(top, how)


def class_name(explanation: Explanation, index: int) -> str:
    """A class's name with its number."""
    labels = explanation.labels
    return f"{labels[index]} ({index})" if 0 <= index < len(labels) else f"class {index}"


def explained_class(explanation: Explanation, sample: int = 0) -> int | None:
    """The class that the target speaks of; None for differences of classes and for inner targets."""
    classes = explanation.of.classes
    if len(explanation.of.terms) != 1 or len(classes) != 1 or explanation.of.terms[0].weight != 1:
        return None
    which = classes[0]
    if isinstance(which, int):
        return which
    return which[sample] if isinstance(which, tuple) and sample < len(which) else None


def bars_of(prediction: Prediction, explained: int | None) -> Bars:
    """The classes as bars; the one explained stands out."""
    bars = tuple(Bar(name, share, strong=index == explained) for index, name, share in prediction.top)
    return Bars(bars, "What the network answers", (0.0, 1.0), percent=True)
