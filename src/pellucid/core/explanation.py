"""What a method found, with everything needed to say where it came from and to find it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadModel, Missing
from pellucid.core.network import Network
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs, Tensors


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent: forward and backward passes counted in samples, and seconds of wall time."""

    forwards: int
    backwards: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Explanation(Shown):
    """Values by input name, and where they came from.

    `maps` have their input's shape, but for the channel axis, which is 1 where a method speaks of places only; token
    inputs are explained at their embedding, `[batch, tokens, width]`.  `inner`: the value at the inner site that was
    explained in the input's place, by the site's name, which then is the maps' name too.  `slopes`: the values say how
    steeply the score climbs with a value, and not what a part contributed.  `resolution` is a map's true
    size when it was enlarged.  `gap` is, for methods that promise completeness, how far each sample's values miss the
    change of the score, relative to it.  `without_rule` are operations that ran under the plain gradient though the
    method wanted a rule for them.  `stopped` says how far a stopped run came.
    """

    maps: Tensors
    x: Tensors = field(repr=False)
    method: str
    options: Mapping[str, Any]
    of: Target
    target: str
    seed: int
    network: str
    source: str
    labels: tuple[str, ...] = field(repr=False)
    versions: Mapping[str, str] = field(repr=False)
    cost: Cost
    inner: Tensors = field(default_factory=dict, repr=False)
    signed: bool = True
    slopes: bool = False
    resolution: tuple[int, int] | None = None
    gap: tuple[float, ...] | None = None
    without_rule: tuple[str, ...] = ()
    stopped: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    net: Network | None = field(default=None, repr=False, compare=False)
    score: Score | None = field(default=None, repr=False, compare=False)
    again: Callable[..., Explanation] | None = field(default=None, repr=False, compare=False)
    saved_fingerprint: str = field(default="", repr=False)

    @property
    def values(self) -> Tensor | Tensors:
        """The map; a mapping by input name when several inputs were explained."""
        return next(iter(self.maps.values())) if len(self.maps) == 1 else self.maps

    @property
    def at(self) -> str:
        """The inner site that was explained in the place of the input; empty when it was the input."""
        return next(iter(self.inner), "")

    @property
    def explained(self) -> Tensors:
        """What the maps speak of: the value at the inner site, or the input."""
        return self.inner or self.x

    @property
    def by_size(self) -> bool:
        """Do tests of what a part did take the map's size?  A slope's sign only says which way to change a value."""
        return self.signed and self.slopes

    @property
    def fingerprint(self) -> str:
        """The digest of the network's structure and weights."""
        return self.net.fingerprint if self.net is not None else self.saved_fingerprint

    def with_checks(self, checks: tuple[Check, ...]) -> Explanation:
        """The same explanation with its trust card."""
        return replace(self, checks=checks)

    def rerun(self, net: Network | None = None, *, x: Inputs | None = None, seed: int | None = None) -> Explanation:
        """Run the method again with the same options: on the same or another network, input or seed.

        Raises `Missing` when the explanation came from a file and no network is given, and `BadModel` when it came
        from a file and the given network's weights are not those that were explained (give `x` to run it all the same).
        """
        network = net or self.net
        if network is None or self.again is None:
            raise Missing(
                "This explanation was loaded without its network.", "Give it: explanation.rerun(pl.open(...))."
            )
        if self.net is None and x is None and network.fingerprint != self.saved_fingerprint:
            raise BadModel(
                f"{network.name} has other weights than the {self.network} that was explained.", "Open that one."
            )
        with running(replace(current(), seed=self.seed if seed is None else seed)):
            return self.again(network, self.x if x is None else x, self.of, self.at or None, **self.options)
