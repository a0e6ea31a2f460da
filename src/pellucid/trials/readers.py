"""Other networks of the same task, which read a dream as they would read a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pellucid.core.errors import BadModel, BadTarget, Missing
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import Target, logit
from pellucid.doors import zoo
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import canvas_of
from pellucid.dream.painting.dreaming import resized
from pellucid.trials.route import network_of

_READERS = ("efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite0")


@dataclass(frozen=True, slots=True)
class Reading:
    """How one network reads one picture: the class's probability, and how many classes it finds likelier."""

    network: str
    probability: float
    rank: int
    classes: int


def class_of(target: Target) -> int | None:
    """The one class that a target asks for; None for anything else."""
    one = len(target.terms) == 1 and target.terms[0].weight > 0 and target.classes
    return target.classes[0] if one and isinstance(target.classes[0], int) else None


def usual_readers(net: Network) -> tuple[tuple[Network, ...], str]:
    """Trained networks with the same class names that are installed; otherwise what to install."""
    if net.labels != zoo.imagenet_classes():
        return (), "No other network of this task is known; give some: others=[...]."
    found, missing = list[Network](), ""
    for name in _READERS:
        if name == net.source:
            continue
        try:
            found.append(zoo.open(name))
        except Missing as why:
            missing = missing or f"{why.what} {why.hint}"
    return tuple(other for other in found if other.fingerprint != net.fingerprint), missing


def readings(dream: Dream, other: Network) -> list[Reading | None]:
    """How another network reads each picture; None where it has no class of that name.

    Pictures are resized to the other network's own size and prepared as it wants them.  Passes: one a picture.
    """
    places = [_place(network_of(dream), other, class_of(t)) for t in dream.targets]
    if all(p is None for p in places):
        return [None] * len(places)
    canvas = dream.canvas if other.preparation is None else canvas_of(other)
    x = canvas.fed(resized(dream.pictures, canvas.native).to(dtype=canvas.dtype, device=canvas.device))
    out = Score(other, logit(0)).outputs(x)
    if out.ndim != 2:
        raise BadModel(f"{other.name} puts out {tuple(out.shape)}, expected [batch, classes].")
    p = out.float().softmax(1).cpu()
    return [None if at is None else _reading(other, one, at) for one, at in zip(p, places, strict=True)]


def _reading(other: Network, p: Tensor, at: int) -> Reading:
    return Reading(other.name, float(p[at]), int((p > p[at]).sum()), len(p))


def _place(net: Network, other: Network, index: int | None) -> int | None:
    """The class's number in the other network, by its name; without names, the same number in a like network."""
    if index is None:
        return None
    if not (net.labels and other.labels):
        return index if not net.labels and not other.labels else None
    if not 0 <= index < len(net.labels):
        raise BadTarget(f"Class {index} was asked for; this network has {len(net.labels)} class names.")
    same = _numbers(other.labels, net.labels[index])
    return same[0] if len(same) == 1 else None


def _numbers(labels: Sequence[str], name: str) -> list[int]:
    wanted = name.strip().casefold()
    return [i for i, label in enumerate(labels) if label.strip().casefold() == wanted]
