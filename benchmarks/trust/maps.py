"""Maps whose worth is known: the truth, the truth diluted, and maps that are wrong for a reason that can be named."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.rig import Planted, generator
from pellucid.core.network import Network
from pellucid.probes.blur import blurred
from pellucid.probes.masks import landscapes
from pellucid.trials.unlearned import unlearned

TRUE, MIXED, METHOD, WRONG = "true", "diluted", "a method's", "wrong"
# The wiring of these networks is a part of the truth, and random weights keep it: their maps are no test of a lie.
WIRED = ("crop f(x[q])", "disconnected region")
REDRAWN = 8  # networks with random weights, taken in turns
OWN = ("integrated_gradients", "occlusion", "saliency")
STEPS = 16  # of integrated gradients, where a method's own map is wanted for the wrong question


def shifted(truth: Tensor, g: torch.Generator, least: int = 10) -> Tensor:
    """The map rolled over the border by at least `least` pixels along each axis."""
    sides = truth.shape
    by = [least + int(torch.randint(n - 2 * least + 1, (), generator=g)) for n in sides]
    return truth.roll(by, (0, 1))


def graded(
    truth: Tensor, g: torch.Generator, shares: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1), each: int = 3
) -> Iterator[tuple[float, Tensor]]:
    """Maps between the shifted truth and the truth, with a little noise: `(share of truth, map)`."""
    spread = float(truth.std())
    for share in shares:
        for _ in range(each):
            noise = 0.25 * spread * torch.randn(truth.shape, generator=g)
            yield share, share * truth + (1 - share) * shifted(truth, g) + noise


def places(values: Tensor) -> Tensor:
    """A method's map as a number a place."""
    return values[0].double().sum(0).detach()


class Maps:
    """All maps of a planted network's pictures."""

    def __init__(self, planted: Planted) -> None:
        self.planted = planted
        self.net = Network(planted.model)
        self.classes = planted.model(planted.scenes.x[:1]).shape[1]
        some = {self.net.inputs[0]: planted.scenes.x[:16]}
        self.random = [unlearned(self.net, some, seed) for seed in range(1, 1 + REDRAWN)]

    def truth(self, i: int) -> Tensor:
        """Where the reason lies; of patches that add up, each one's exact share."""
        return self.planted.sign * self.planted.scenes.truth[i].double()

    def attributed(
        self, i: int, target: int, net: Network | None = None, method: str = "integrated_gradients"
    ) -> Tensor:
        """A real method's map of scene i."""
        x = self.planted.scenes.x[i : i + 1]
        options = {"steps": STEPS} if method == "integrated_gradients" else {}
        return places(getattr(pl.methods, method)(net or self.net, x, pl.logit(target), **options).values)

    def drawn(self, i: int) -> Network:
        """The network with random weights whose maps of scene i are to be found wrong."""
        return self.random[i % REDRAWN]

    def guess(self, i: int, method: str) -> Tensor:
        """The card's third guess: what this method shows of scene i on another network with random weights."""
        return self.attributed(i, int(self.planted.scenes.labels[i]), self.random[(i + 1) % REDRAWN], method)

    def of(self, i: int) -> Iterator[tuple[str, str, Tensor]]:
        """Kind, name and map, of scene i."""
        g, truth = generator("maps", self.planted.name, i), self.truth(i)
        soft = blurred(truth[None, None], (2, 3), 2.0)[0, 0]
        yield TRUE, "truth", truth
        yield TRUE, "truth, out of focus", soft
        for share in (0.75, 0.5, 0.25):
            yield MIXED, f"{share:.0%} truth, rest shifted", share * soft + (1 - share) * shifted(soft, g)
        label = int(self.planted.scenes.labels[i])
        yield from ((METHOD, method.replace("_", " "), self.attributed(i, label, method=method)) for method in OWN)
        field = landscapes(1, tuple(truth.shape), g)[0]
        yield WRONG, "smooth random field", field
        yield WRONG, "very smooth random field", blurred(field[None, None], (2, 3), truth.shape[0] / 8)[0, 0]
        yield WRONG, "shifted truth", shifted(truth, g)
        yield WRONG, "shifted truth, out of focus", shifted(soft, g)
        yield WRONG, "opposite of the truth", -soft
        yield from ((WRONG, name, m[i].double()) for name, m in self.planted.decoys.items())
        yield from self._of_methods(i, label)

    def _of_methods(self, i: int, label: int) -> Iterator[tuple[str, str, Tensor]]:
        n, apart = len(self.planted.scenes), self.planted.scenes.truth
        others = [(i + k) % n for k in range(1, n)]
        other = next((j for j in others if not bool((apart[i] * apart[j] > 0).any())), None)
        for method in ("integrated_gradients", "grad_cam"):
            if method == "grad_cam" and self.planted.name in ("additive patches", "crop f(x[q])"):
                continue  # no map to look at that covers the picture
            name = method.replace("_", " ").replace("integrated gradients", "IG").replace("grad cam", "Grad-CAM")
            if other is not None:
                theirs = int(self.planted.scenes.labels[other])
                yield WRONG, f"another picture's {name}", self.attributed(other, theirs, method=method)
            if self.classes > 1:
                yield WRONG, f"another class's {name}", self.attributed(i, (label - 1) % self.classes, method=method)
            kind = METHOD if self.planted.name in WIRED else WRONG
            yield (
                kind,
                f"{name} of random weights" + ", same wiring" * (kind == METHOD),
                self.attributed(i, label, self.drawn(i), method),
            )
