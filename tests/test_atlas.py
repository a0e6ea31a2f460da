"""Activation atlases and grids: cells against means by brute force, classes against the layers behind, real patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.run import Run, running
from pellucid.dream.atlas import atlas
from pellucid.dream.grid import activation_grid
from pellucid.dream.maps.activations import layout_of
from pellucid.dream.maps.crops import crops_of
from pellucid.dream.maps.icons import illustrate
from pellucid.dream.maps.reduce import Moments
from pellucid.dream.maps.whiten import whitened
from tests.traces import of_model, of_process
from tests.zoo_of_kinds import vit

PIXELS = pl.Preparation(size=12)


def drawn(*shape: int, key: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(key))


def network(stride: int = 1) -> pl.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(3, 6, 3, stride), nn.ReLU())
        model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return pl.Network(model.eval(), preparation=PIXELS, labels=("a", "b", "c", "d"))


def at_site(net: pl.Network, x: Tensor) -> Tensor:
    assert isinstance(net.model, nn.Sequential)
    with torch.no_grad():
        value: Tensor = net.model[0](x)
    return value


def test_each_cell_is_the_mean_of_the_vectors_that_lie_in_it() -> None:
    net, x = network(), drawn(6, 3, 12, 12)
    before = of_model(net.model), of_process()
    found = atlas(net, x, "0", grid=4, each=100, least=1)  # 100 places: all of them
    assert (of_model(net.model), of_process()) == before
    assert len(found.places) == 6 * 100 and int(found.counts.sum()) == 600
    values = at_site(net, x).flatten(2).mT.reshape(-1, 6)
    torch.testing.assert_close(  # every vector is in one cell, whatever the order
        (found.means * found.counts[:, None]).sum(0), values.sum(0), rtol=1e-4, atol=1e-2
    )
    # without the map: principal components of the centered vectors of length one, cut into four by four cells
    unit = torch.nn.functional.normalize(values - values.mean(0), dim=1)
    _, _, v = torch.linalg.svd(unit - unit.mean(0), full_matrices=False)
    axes = torch.stack([d * torch.sign(d[d.abs().argmax()]) for d in v[:2]])
    at = (unit - unit.mean(0)) @ axes.T
    low, high = (torch.quantile(at, q, dim=0) for q in (0.005, 0.995))
    cell = ((at - low) / (high - low) * 4).floor().clamp(0, 3).long()
    for (row, column), mean, count in zip(found.cells.tolist(), found.means, found.counts.tolist(), strict=True):
        inside = values[(cell[:, 0] == column) & (cell[:, 1] == 3 - row)]
        assert abs(len(inside) - count) <= 2  # rounding at a border
        torch.testing.assert_close(mean, inside.mean(0), rtol=0.05, atol=0.02)


def test_the_vectors_that_are_drawn_depend_on_the_sample_and_not_on_its_neighbors() -> None:
    net, x = network(), drawn(16, 3, 12, 12)
    with running(Run(max_batch=16)):
        together = atlas(net, x, "0", grid=2, each=2, least=1)
    with running(Run(max_batch=3)):
        again = atlas(net, x.flip(0), "0", grid=2, each=2, least=1)
    torch.testing.assert_close(together.means, again.means)
    with running(Run(seed=1)):
        other = atlas(net, x, "0", grid=2, each=2, least=1)
    assert not torch.equal(together.means, other.means)


def test_classes_are_what_the_layers_behind_make_of_the_mean() -> None:
    net = network()
    found = atlas(net, drawn(5, 3, 12, 12), "0", grid=3, least=1, each=100)
    assert isinstance(net.model, nn.Sequential) and found.origin.notes == ()
    values = at_site(net, drawn(5, 3, 12, 12)).flatten(2).mT.reshape(-1, 6)
    with torch.no_grad():
        raised = net.model[3](found.means) - net.model[3](values.mean(0))
    expected = raised.topk(3)
    torch.testing.assert_close(found.raised, expected.values, rtol=1e-3, atol=1e-4)
    assert found.tops.tolist() == expected.indices.tolist()


def test_what_goes_around_the_site_is_said() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.end = nn.Conv2d(3, 3, 1), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.end((self.body(x) + x).mean((2, 3)))

    found = atlas(pl.Network(Around().eval()), drawn(20, 3, 8, 8), "body", grid=2, least=1)
    assert any("around this site" in note for note in found.origin.notes)


def test_patches_are_the_pixels_that_the_nearest_vectors_see() -> None:
    net, x = network(stride=2), drawn(12, 3, 12, 12)
    found = atlas(net, x, "0", grid=2, each=25, least=1)
    assert found.shown == "A patch is all that a place sees: 3×3 pixels."
    values = at_site(net, x)
    for mean, sources, patches in zip(found.means, found.sources, found.patches, strict=True):
        likeness = torch.cosine_similarity(values, mean[None, :, None, None])
        best = int(likeness.flatten().argmax())
        sample, place = divmod(best, 25)
        if int(sources[0]) != sample:  # a vector of another cell may be nearer still
            continue
        row, column = divmod(place, 5)
        seen = x[sample, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        expected = torch.nn.functional.interpolate(seen[None], (64, 64), mode="bilinear", align_corners=False)[0]
        assert (patches[0].float() - 255 * expected).abs().max() <= 1
        break
    else:
        pytest.fail("no cell's nearest vector was its own")


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 4)])
def test_a_crop_holds_what_the_place_depends_on(place: tuple[int, int]) -> None:
    net = network(stride=2)
    x = drawn(1, 3, 12, 12).requires_grad_()
    assert isinstance(net.model, nn.Sequential)
    value = net.model[0][0](x)
    (grad,) = torch.autograd.grad(value[0, :, place[0], place[1]].sum(), x)
    touched = grad[0].abs().sum(0).nonzero()
    crops = crops_of(layout_of(net, {"input": x.detach()}, pl.Site("0")))
    assert crops is not None
    rows, columns = crops.window(place[0] * 5 + place[1])
    assert (rows.start, columns.start) == tuple(touched.amin(0).tolist())
    assert (rows.stop - 1, columns.stop - 1) == tuple(touched.amax(0).tolist())


def test_whitened_vectors_vary_alike_in_every_direction() -> None:
    points = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0)) @ drawn(5, 5, key=1) + 3
    moments = Moments(5)
    moments.add(points)
    values = torch.linalg.eigvalsh(torch.cov(points.double().T))
    spectrum = torch.linalg.eigvalsh(torch.cov(whitened(points, moments).double().T))
    expected = values / (values + 0.1 * values.mean())  # one, but for what a tenth of the mean variance holds back
    torch.testing.assert_close(spectrum, expected.sort().values, rtol=1e-3, atol=1e-3)


def test_tokens_are_laid_back_onto_the_picture() -> None:
    model, (x,), _ = vit()
    net = pl.Network(model.eval())
    layout = layout_of(net, {net.inputs[0]: x}, pl.Site("blocks.0"))
    crops = crops_of(layout)
    assert crops is not None and crops.skip == 1 and crops.grid[0] * crops.grid[1] == layout.sizes[0] - 1
    data = x + 0.1 * torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = atlas(net, data, "blocks.0", grid=2, least=1, each=2)
    assert found.means.shape[1] == layout.channels and found.axis == 2 and found.tops.numel() == 0


def test_channels_may_come_last() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.act, self.end = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(self.act(self.body(x).permute(0, 2, 3, 1)).mean((1, 2)))

    net, x = pl.Network(Last().eval()), drawn(5, 3, 12, 12)
    first, last = (atlas(net, x, site, grid=2, least=1, each=100) for site in ("body", "act"))
    assert (first.axis, last.axis) == (1, 3) and last.means.shape[1] == 6
    with torch.no_grad():
        values = net.model.act(net.model.body(x))
        expected = net.model.end(last.means) - net.model.end(values.movedim(1, 3).reshape(-1, 6).mean(0))
    torch.testing.assert_close(last.raised, expected.topk(3).values, rtol=1e-3, atol=1e-4)
    assert last.shown == first.shown and last.patches.shape[1:] == first.patches.shape[1:]


def test_an_activation_grid_holds_every_vector_and_the_most_alike_place_of_the_others() -> None:
    net, x, others = network(), drawn(1, 3, 6, 6), drawn(5, 3, 6, 6, key=1)
    found = activation_grid(net, x, "0", torch.cat([others[:2], x, others[2:]]), strongest=2)
    value = at_site(net, x)[0]
    torch.testing.assert_close(found.vectors, value.permute(1, 2, 0))
    torch.testing.assert_close(found.sizes, value.norm(dim=0))
    top = value.topk(2, dim=0)
    assert found.channels.tolist() == top.indices.permute(1, 2, 0).tolist()
    theirs = at_site(net, others)
    for i, (row, column) in enumerate((r, c) for r in range(4) for c in range(4)):
        likeness = torch.cosine_similarity(theirs, value[None, :, row, column, None, None])
        sample = int(likeness.flatten(1).amax(1).argmax())
        assert float(found.likeness[i]) == pytest.approx(float(likeness.max()), abs=1e-5)
        assert int(found.sources[i]) == (sample if sample < 2 else sample + 1)  # the picture itself is left out


def test_a_stopped_atlas_is_of_what_was_seen() -> None:
    seen: list[int] = []
    with running(Run(max_batch=8, progress=lambda p: seen.append(p.done), stop=lambda: bool(seen))):
        found = atlas(network(), drawn(60, 3, 12, 12), "0", grid=2, least=1)
    assert found.origin.stopped == f"after {found.origin.samples} of 60 samples" and found.origin.samples < 60
    assert len(found.raised) == len(found.cells) == len(found.patches)


def test_dreams_are_added_for_the_network_that_was_mapped_only() -> None:
    net = network()
    found = atlas(net, drawn(20, 3, 12, 12), "0", grid=2, least=1)
    drawn_too = illustrate(found, net, size=16, recipe=pl.dream.Recipe(steps=2, early=1.0))
    assert drawn_too.icons is not None and drawn_too.icons.shape == (len(found.cells), 3, 16, 16)
    assert 0 <= drawn_too.recognized <= 1
    assert len({bytes(i.numpy().tobytes()) for i in drawn_too.icons}) == len(found.cells)
    with running(Run(stop=lambda: True)):
        assert illustrate(found, net).icons is None
    other = network()
    with torch.no_grad():
        other.model[3].bias += 1  # type: ignore[index,operator]
    with pytest.raises(pl.BadModel, match="other weights"):
        illustrate(found, other)
    with pytest.raises(pl.BadInput, match="Icons of"):
        found.with_icons(torch.zeros(1, 3, 8, 8))


def test_dreams_of_a_linear_site_are_taken_for_their_own_cell() -> None:
    """A site of one-pixel filters, each of one color: a dream of a cell has its color, and no other's."""
    model = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3)[:, :, None, None])
    net = pl.Network(nn.Sequential(model), preparation=pl.Preparation(size=8, mean=(0.5,) * 3, std=(0.5,) * 3))
    pure = (torch.eye(3) * 2 - 1)[:, :, None, None].expand(3, 3, 8, 8).repeat(8, 1, 1, 1)
    data = pure + 0.01 * torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = illustrate(
        atlas(net, data, "0", grid=2), net, size=16, recipe=pl.dream.Recipe(steps=96, early=1.0, contrast=1.0)
    )
    assert len(found.cells) == 3 and found.recognized == 1


def test_atlas_and_grid_open_again_and_are_drawn(tmp_path: Path) -> None:
    net = network()
    one, many = activation_grid(net, drawn(1, 3, 12, 12), "0"), atlas(net, drawn(20, 3, 12, 12), "0", grid=2, least=1)
    for result in (one, many, many.with_icons(drawn(len(many.cells), 3, 8, 8))):
        again = pl.load(result.save(tmp_path / "it.pellucid"))
        assert type(again) is type(result) and again.origin == result.origin
        for name in ("vectors", "means", "patches", "icons", "sources"):
            a, b = getattr(result, name, None), getattr(again, name, None)
            assert (a is None and b is None) or torch.equal(a, b)
        page = again.save(tmp_path / "it.html").read_text(encoding="utf-8")
        assert page.count("<rect") >= len(getattr(result, "cells", result.origin.notes))  # words over each cell
    assert "what the network looks for there" in page


def test_a_board_has_each_picture_in_its_cell_with_its_words() -> None:
    from pellucid.views.maps import GROUND, board

    pictures = np.arange(2, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)
    pixels, hints = board([(0, 1), (1, 0)], pictures, ["first", "second"], (2, 2), [1.0, 0.5])
    assert (pixels[:4, 4:] == 0).all() and (pixels[5:7, 1:3] == 1).all() and (pixels[4, 0] == GROUND).all()
    assert hints == ((4, 0, 4, 4, "first"), (0, 4, 4, 4, "second"))


def test_what_makes_no_atlas_is_refused() -> None:
    net, x = network(), drawn(20, 3, 12, 12)
    with pytest.raises(pl.BadOption, match="whiten"):
        atlas(net, x, "0", whiten=True)
    with pytest.raises(pl.BadInput, match="No cell holds 90"):
        atlas(net, x, "0", least=90)
    with pytest.raises(pl.BadInput, match="too few"):
        atlas(net, x[:3], "0", each=2)
    several = [*x, *drawn(4, 3, 10, 10)]
    for made in (lambda: atlas(net, several, "0"), lambda: activation_grid(net, x[:1], "0", several)):
        with pytest.raises(pl.BadInput, match="samples of one size"):
            made()
    with pytest.raises(pl.BadInput, match="no places"):
        activation_grid(net, x[:1], "3")
    with pytest.raises(pl.BadInput, match="2 pictures"):
        activation_grid(net, x[:2], "0")
