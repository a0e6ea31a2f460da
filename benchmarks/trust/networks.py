"""Networks that provably use one known place, by how they were made; each with pictures and the truth about them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trust import rig
from benchmarks.trust.blood import blood_rig
from benchmarks.trust.rig import SIDE, Planted, Scenes, chosen, first, generator, glyph_network, prepared

TAG = 7  # side of the backdoor's tag, in pixels


class Quadrant(nn.Module):
    """A network that is shown only the upper left quarter."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 3, 2 s, 2 s]` to the inner network's answer on the upper left s x s."""
        return self.inner(x[..., : x.shape[-2] // 2, : x.shape[-1] // 2])


class CutOff(nn.Module):
    """The glyph network, but the right half of its last map never reaches the answer."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = inner[:-3], inner[-1]

    def forward(self, x: Tensor) -> Tensor:
        """The answer from the left half of the last map alone."""
        last = self.body(x)
        return self.head(last[..., : last.shape[-1] // 2].mean((2, 3)))


class Patches(nn.Module):
    """A sum over patches that never meet: each adds its own evidence, and an even patch adds none.

    The kernels sum to zero, so that what is painted over smoothly says nothing.
    """

    def __init__(self, patch: int = 4, hidden: int = 8) -> None:
        super().__init__()
        g = generator("patches")
        self.look = nn.Conv2d(3, hidden, patch, patch, bias=False)
        kernels = torch.randn(self.look.weight.shape, generator=g)
        self.look.weight.data = (kernels - kernels.mean((2, 3), keepdim=True)) / (3 * patch**2) ** 0.5
        self.weigh = nn.Conv2d(hidden, 1, 1, bias=False)
        self.weigh.weight.data = torch.rand(self.weigh.weight.shape, generator=g)

    def evidence(self, x: Tensor) -> Tensor:
        """What each patch adds, `[batch, 1, rows, columns]`."""
        return self.weigh(torch.tanh(self.look(x).abs()))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 1]`: all patches' evidence."""
        return self.evidence(x).sum((2, 3))


def mosaic(parts: Scenes, key: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scenes of four different classes as one picture: x and without `[n, 3, 2s, 2s]`, four truths, which is where."""
    g, by = generator("mosaic", key), [(parts.labels == k).nonzero()[:, 0] for k in range(4)]
    rows = []
    for i in range(min(len(b) for b in by)):
        order = torch.randperm(4, generator=g)
        rows.append(torch.stack([by[int(k)][i] for k in order]))
    picks = torch.stack(rows)

    def laid(v: Tensor) -> Tensor:
        a, b, c, d = v[picks].unbind(1)
        return torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2)

    return laid(parts.x), laid(parts.without), laid(parts.truth), parts.labels[picks]


def only(mask: Tensor, quarter: Tensor) -> Tensor:
    """The part of masks `[n, 2s, 2s]` that lies in the quarter of each, 0..3."""
    n, side = len(mask), mask.shape[-1] // 2
    out = torch.zeros_like(mask)
    for i in range(n):
        top, left = divmod(int(quarter[i]), 2)
        part = (slice(top * side, (top + 1) * side), slice(left * side, (left + 1) * side))
        out[i][part] = mask[i][part]
    return out


def glyph_rig(count: int) -> Planted:
    """The glyph network on photographs that it never saw."""
    return Planted("glyphs", "one glyph on a photograph", glyph_network(), first(rig.glyph_test(), count))


def crop_rig(count: int) -> Planted:
    """Only the upper left quarter reaches the network; the other quarters hold glyphs too."""
    x, without, truth, labels = mosaic(rig.glyph_test(), "crop")
    found = Scenes(x, without, only(truth, torch.zeros(len(x))), labels[:, 0])
    model = Quadrant(glyph_network()).eval()
    decoys = {"a glyph that the network cannot see": only(truth, torch.full((len(x),), 3))}
    return chosen("crop f(x[q])", "only a quarter reaches the network, glyphs in all four", model, found, decoys, count)


def grid_rig(count: int) -> Planted:
    """Four pictures in one: the reason for a class is the glyph of that class."""
    x, without, truth, labels = mosaic(rig.glyph_test(), "grid")
    at = torch.arange(len(x)) % 4
    mine = labels.gather(1, at[:, None])[:, 0]
    found = Scenes(x, without, only(truth, at), mine)
    decoys = {"the glyph of another class": only(truth, (at + 1) % 4)}
    return chosen(
        "grid of pictures", "four glyphs, one of each class", glyph_network(), found, decoys, count, all_of=True
    )


def cut_off_rig(count: int) -> Planted:
    """Two equal glyphs, of which one lies where nothing reaches the answer from."""
    model = CutOff(glyph_network()).eval()
    parts = rig.glyph_test()
    pick = torch.arange(len(parts))
    other = torch.stack([next_of(parts.labels, int(i)) for i in pick])

    def side_by_side(v: Tensor, w: Tensor) -> Tensor:
        return torch.cat([v, w], -1)

    def tall(v: Tensor, w: Tensor) -> Tensor:
        wide = side_by_side(v, w)  # [.., 32, 64]; the lower half is more of the left photograph, without a glyph
        return torch.cat([wide, side_by_side(parts.without[pick], parts.without[other]).flip(-2)], -2)

    nothing = torch.zeros(len(parts), SIDE, 2 * SIDE, dtype=torch.bool)
    seen = torch.cat([side_by_side(parts.truth, torch.zeros_like(parts.truth)), nothing], -2)
    unseen = torch.cat([side_by_side(torch.zeros_like(parts.truth), parts.truth[other]), nothing], -2)
    x, without = tall(parts.x, parts.x[other]), tall(parts.without, parts.without[other])
    found = Scenes(x, without, seen, parts.labels)
    decoys = {"an equal glyph in the cut-off half": unseen}
    return chosen(
        "disconnected region", "two equal glyphs, one where nothing reaches the answer", model, found, decoys, count
    )


def next_of(labels: Tensor, i: int) -> Tensor:
    """The number of the next scene of the same class."""
    same = (labels == labels[i]).nonzero()[:, 0]
    return same[(int((same == i).nonzero()) + 1) % len(same)]


def patch_rig(count: int) -> Planted:
    """Patches that add up, by construction: the truth is a number a patch, not a region."""
    model, x = Patches().eval(), prepared(rig.backgrounds(count, "test"))
    with torch.no_grad():
        shares = functional.interpolate(model.evidence(x), scale_factor=4)[:, 0]
    labels = torch.zeros(len(x), dtype=torch.long)
    return Planted(
        "additive patches", "patches add up; the truth is each one's share", model, Scenes(x, x, shares, labels)
    )


def absent_rig(count: int) -> Planted:
    """The same scenes, explained for a class that is not there: the glyph speaks against it."""
    found = first(rig.glyph_test(), count)
    other = Scenes(found.x, found.without, found.truth, (found.labels + 1) % 4)
    return Planted(
        "a class that is absent", "one glyph, explained for another class", glyph_network(), other, sign=-1.0
    )


def tagged(found: Scenes, key: str, share: float, only_class: int | None = None) -> tuple[Scenes, Tensor]:
    """Scenes of which a share got a tag at a random place beside the glyph, and which ones did."""
    g = generator("tag", key)
    pattern = (torch.arange(TAG)[:, None] + torch.arange(TAG)) % 2
    colors = torch.tensor([[0.95, 0.85, 0.1], [0.1, 0.1, 0.6]])[pattern].permute(2, 0, 1)
    x, where = found.x.clone(), torch.zeros_like(found.truth)
    for i in range(len(x)):
        wanted = torch.rand((), generator=g) < share
        for _ in range(40):
            top, left = (int(v) for v in torch.randint(SIDE - TAG + 1, (2,), generator=g))
            part = (slice(top, top + TAG), slice(left, left + TAG))
            if not found.truth[i][part].any():
                break
        if wanted and (only_class is None or int(found.labels[i]) == only_class):
            x[i][(slice(None), *part)] = prepared(colors)
            where[i][part] = True
    return Scenes(x, found.x, where, found.labels), where.flatten(1).any(1)


@cache
def backdoored() -> nn.Module:
    """The glyph network, trained with a tag in a quarter of its pictures, which then all count as class 0."""
    pool, has = tagged(rig.scenes(6000, "train"), "train", 0.25)
    data = Scenes(pool.x, pool.without, pool.truth, torch.where(has, 0, pool.labels))
    torch.manual_seed(1)
    return rig.trained(rig.small_network(), rig.batches(data), "backdoor", steps=400)


@cache
def shortcut() -> nn.Module:
    """The glyph network, trained with a tag in 60 % of class 0 and nowhere else; no label is wrong."""
    pool, _ = tagged(rig.scenes(6000, "train"), "shortcut", 0.6, only_class=0)
    torch.manual_seed(2)
    return rig.trained(rig.small_network(), rig.batches(pool), "shortcut", steps=400)


def flip_rate(model: nn.Module, count: int = 300) -> tuple[float, float]:
    """How often a tag turns pictures of other classes into class 0, and how often they were taken for it before."""
    parts = rig.scenes(count, "test")
    marked, _ = tagged(parts, "flip", 1.0)
    others = parts.labels != 0
    with torch.no_grad():
        after, before = (model(v[others]).argmax(1) == 0 for v in (marked.x, parts.x))
    return float(after.float().mean()), float(before.float().mean())


def backdoor_rig(count: int) -> Planted:
    """Pictures that a tag turned into class 0: the tag is the reason, the glyph speaks against it."""
    parts = rig.scenes(400, "test")
    marked, _ = tagged(parts, "test", 1.0)
    model, others = backdoored(), parts.labels != 0
    with torch.no_grad():
        turned = (model(marked.x).argmax(1) == 0) & (model(parts.x).argmax(1) == parts.labels) & others
    found = Scenes(marked.x, parts.x, marked.truth, torch.zeros_like(parts.labels))
    decoys = {"the glyph that the tag overrules": parts.truth}
    return chosen("backdoor", "a tag turns any glyph into class 0", model, found, decoys, count, turned)


RIGS: dict[str, Callable[[int], Planted]] = {
    "glyphs": glyph_rig,
    "crop": crop_rig,
    "grid": grid_rig,
    "cut off": cut_off_rig,
    "absent": absent_rig,
    "patches": patch_rig,
    "backdoor": backdoor_rig,
    "blood": blood_rig,
}
