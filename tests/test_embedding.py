"""Maps of many samples: components against an SVD, neighbors by brute force, trust against scikit-learn and by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.run import Run, running
from pellucid.dream.embedding import embedding
from pellucid.dream.maps.map_trust import agreement, map_trust
from pellucid.dream.maps.neighbors import nearest
from pellucid.dream.maps.reduce import Moments, principal, reduced
from tests.traces import of_model, of_process

NET = pl.Network(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)).eval())


def drawn(*shape: int, key: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(key))


def clusters(count: int, each: int, width: int) -> Tensor:
    """Groups of points a hundred times farther from each other than they are wide."""
    return torch.cat([10 * drawn(1, width, key=i) + 0.1 * drawn(each, width, key=100 + i) for i in range(count)])


@pytest.mark.parametrize(("n", "width"), [(50, 7), (7, 50), (5000, 3)])
def test_principal_components_are_those_of_a_singular_value_decomposition(n: int, width: int) -> None:
    points = drawn(n, width) * torch.arange(1, width + 1)
    found = principal(points, 2)
    u, s, v = torch.linalg.svd((points - points.mean(0)).double(), full_matrices=False)
    same = torch.sign((found.directions.double() * v[:2]).sum(1))
    torch.testing.assert_close(found.directions.double(), v[:2] * same[:, None], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.places.double(), u[:, :2] * s[:2] * same, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.shares, s[:2] ** 2 / (s**2).sum(), rtol=1e-6, atol=1e-9)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    points = drawn(101, 4) + 100
    moments = Moments(4)
    for part in points.split([1, 50, 30, 20]):
        moments.add(part)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(points.double().numpy().T), rtol=1e-9)
    torch.testing.assert_close(moments.mean, points.double().mean(0))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbors_are_those_that_brute_force_finds(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid.dream.maps.neighbors._BLOCK", 500)  # several blocks
    points = drawn(60, 5) + 3
    apart, numbers = nearest(points, 4, metric)
    for i in range(60):
        if metric == "cosine":
            every = [1 - float(torch.cosine_similarity(points[i].double(), p.double(), dim=0)) for p in points]
        else:
            every = [float((points[i].double() - p.double()).norm()) for p in points]
        every[i] = math.inf
        assert numbers[i].tolist() == sorted(range(60), key=every.__getitem__)[:4]
        assert apart[i].tolist() == pytest.approx(sorted(every)[:4], rel=1e-6, abs=1e-9)


def test_trustworthiness_is_scikit_learns_and_continuity_is_it_turned_round() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    points, places = drawn(80, 9), drawn(80, 2, key=1) + drawn(80, 9)[:, :2]
    found = map_trust(points, places, 7, "euclidean")
    a, b = points.double().numpy(), places.double().numpy()
    assert found.trustworthiness == pytest.approx(manifold.trustworthiness(a, b, n_neighbors=7), abs=1e-9)
    assert found.continuity == pytest.approx(manifold.trustworthiness(b, a, n_neighbors=7), abs=1e-9)


def test_swapping_two_places_costs_what_can_be_counted() -> None:
    line = torch.arange(8.0)[:, None]
    places = torch.cat([line, torch.zeros(8, 1)], 1)
    assert map_trust(line, places, 1, "euclidean").continuity == 1
    swapped = places[[0, 1, 2, 3, 4, 5, 7, 6]]
    found = map_trust(line + torch.arange(8.0)[:, None] ** 2 / 100, swapped + swapped**2 / 100, 1, "euclidean")
    # nearest in truth: 1 0 1 2 3 4 5 6; on the map, where 7 lies before 6: 1 0 1 2 3 4 7 5
    assert found.kept == 6 / 8
    # in truth, 7 is the second of 6 and 5 the second of 7; on the map, 5 is the second of 6 and 6 the second of 7
    scale = 2 / (8 * 1 * (16 - 3 - 1))
    assert found.trustworthiness == pytest.approx(1 - 2 * scale)
    assert found.continuity == pytest.approx(1 - 2 * scale)


def test_a_map_that_knows_nothing_keeps_what_chance_keeps() -> None:
    found = map_trust(drawn(1500, 20), drawn(1500, 2, key=1), 10, "euclidean")
    assert found.kept == pytest.approx(found.chance, abs=0.003) and found.word == "hardly"
    assert found.trustworthiness == pytest.approx(0.5, abs=0.02)


def test_many_points_are_judged_by_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points = drawn(600, 8)
    places = principal(points, 2).places
    whole = map_trust(points, places, 10)
    monkeypatch.setattr(sys.modules["pellucid.dream.maps.map_trust"], "_ROWS", 300)
    part = map_trust(points, places, 10)
    assert part.kept == pytest.approx(whole.kept, abs=0.03) and part.kept != whole.kept
    assert part.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.02)


def test_agreement_of_a_map_with_itself_turned_is_complete() -> None:
    places = drawn(50, 2)
    assert agreement(places, 3 * places @ torch.tensor([[0.0, 1], [-1, 0]]), 5) == 1
    assert agreement(places, drawn(50, 2, key=1), 5) < 0.3


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_planted_clusters_stay_apart(how: str) -> None:
    if how != "pca":
        pytest.importorskip("sklearn")
    points = clusters(3, 25, 10)
    found = reduced(points, how)
    _, numbers = nearest(found.places, 5, "euclidean")
    group = torch.arange(3).repeat_interleave(25)
    assert bool((group[numbers] == group[:, None]).all())


def test_t_sne_is_the_same_again_and_leaves_the_process_alone() -> None:
    pytest.importorskip("sklearn")
    points, before = drawn(40, 6), of_process()
    with running(Run(seed=3)):
        first, second, other = reduced(points, "tsne"), reduced(points, "tsne"), reduced(points, "tsne", start=1)
    assert torch.equal(first.places, second.places) and not torch.equal(first.places, other.places)
    assert of_process() == before


@pytest.mark.slow
def test_umap_is_the_same_again() -> None:
    pytest.importorskip("umap")
    points = clusters(3, 15, 10)
    first, second = reduced(points, "umap").places, reduced(points, "umap").places
    assert torch.equal(first, second)
    _, numbers = nearest(first, 5, "euclidean")
    assert bool((numbers // 15 == torch.arange(45)[:, None] // 15).all())


def test_an_embedding_holds_the_values_at_the_site() -> None:
    x = drawn(30, 6)
    before = of_model(NET.model), of_process()
    with running(Run(max_batch=7)):
        found = embedding(NET, x, "1", neighbors=4)
    assert isinstance(NET.model, nn.Sequential)
    with torch.no_grad():
        expected = NET.model[1](NET.model[0](x))
        likeliest = NET.model(x).softmax(1).max(1)
    torch.testing.assert_close(found.features, expected)
    torch.testing.assert_close(found.shares, likeliest.values)
    assert found.tops.tolist() == likeliest.indices.tolist()
    assert found.neighbors(0)[0][0] == f"sample {int(found.nearest[0, 0])}"
    assert (of_model(NET.model), of_process()) == before


def test_values_are_averaged_over_places() -> None:
    net = pl.Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval())
    x = torch.rand(12, 3, 9, 9)
    with torch.no_grad():
        expected = net.model(x)
    torch.testing.assert_close(embedding(net, x, "1", neighbors=3).features, expected)
    torch.testing.assert_close(embedding(net, x, "3", neighbors=3, keep="float16").features, expected.half())


def test_a_folder_makes_a_map_with_pictures_and_the_file_opens_again(tmp_path: Path) -> None:
    net = pl.Network(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), preparation=pl.Preparation(size=8))
    for i in range(9):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    found = embedding(net, str(tmp_path), "1", neighbors=2, metric="euclidean")
    assert found.names == tuple(f"{i}.png" for i in range(9)) and found.origin.unread == 1
    assert found.pictures[3].unique().tolist() == [60]
    assert found.neighbors(0)[0][0] == "1.png"
    again = pl.load(found.save(tmp_path / "map.pellucid"))
    assert torch.equal(again.places, found.places) and again.trust.kept == found.trust.kept
    assert again.origin == found.origin and again.names == found.names
    html = again.save(tmp_path / "map.html").read_text(encoding="utf-8")
    assert "4.png" in html and "Can this map be trusted?" in html


def test_a_stopped_map_is_of_what_was_seen() -> None:
    seen: list[int] = []
    with running(Run(max_batch=8, progress=lambda p: seen.append(p.done), stop=lambda: len(seen) > 1)):
        found = embedding(NET, drawn(100, 6), "1", neighbors=3)
    assert 8 <= len(found.features) < 100 and found.origin.stopped.startswith(f"after {len(found.features)} of 100")


def test_what_cannot_be_laid_out_is_refused_before_anything_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    x = drawn(30, 6)
    monkeypatch.setattr(NET, "call", lambda *_: pytest.fail("it was run"))
    with pytest.raises(pl.BadInput, match="no module"):
        embedding(NET, x, "7")
    with pytest.raises(pl.BadInput, match="more than twice"):
        embedding(NET, x, "1", neighbors=15)
    with pytest.raises(pl.BadOption, match="how"):
        embedding(NET, x, "1", how="som")  # type: ignore[arg-type]  # that is what is refused
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pl.Missing, match=r"pip install 'pellucid\[embed\]'"):
        embedding(NET, x, "1", how="tsne")
