"""Two networks beside each other: aligned structure, moved weights, alike activations, against closed forms."""

from __future__ import annotations

import copy
import json
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.architecture.compared.difference import weight_change
from pellucid.architecture.compared.folding import folded
from pellucid.architecture.compared.similarity import gram, hsic, minibatch_cka, table
from pellucid.architecture.weights import facts_of
from pellucid.render.terminal import terminal
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import view_of, words_of
from pellucid.views.difference import changes


def orthogonal(n, seed=0):
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.double, generator=torch.Generator().manual_seed(seed)))[0]


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def test_cka_is_one_for_the_same_up_to_rotation_scale_and_shift():
    x = drawn(20, 7)
    for y in (x, 5 * x, -0.1 * x, x @ orthogonal(7), x @ orthogonal(7) * 3 + 100):
        assert pl.cka(x, y) == pytest.approx(1, abs=1e-9)
    y = drawn(20, 4, seed=1)
    assert pl.cka(x, y) == pytest.approx(pl.cka(y, x), abs=1e-12)
    assert pl.cka(x, y) == pytest.approx(pl.cka(x @ orthogonal(7), 2 * y @ orthogonal(4, 3)), abs=1e-9)


def test_cka_of_some_of_the_directions_is_the_root_of_their_share():
    x = 3 * orthogonal(400)[:, :8] * 20  # eight directions of equal size, many samples: HSIC is its limit
    x = x - x.mean(0)
    assert pl.cka(x, x[:, :2]) == pytest.approx((2 / 8) ** 0.5, abs=0.01)


def test_cka_of_unrelated_values_is_about_zero_even_with_more_features_than_samples():
    found = [pl.cka(drawn(60, 500, seed=2 * i), drawn(60, 300, seed=2 * i + 1)) for i in range(8)]
    assert abs(np.mean(found)) < 0.02 and max(map(abs, found)) < 0.1  # the biased estimate would give over 0.8
    assert np.isnan(pl.cka(torch.ones(6, 3), drawn(6, 3)))


def test_hsic_is_the_mean_over_all_quadruples_of_different_samples():
    k, m = gram(drawn(6, 3)), gram(drawn(6, 2, seed=4))
    total = sum(
        float(k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]) for i, j, q, r in permutations(range(6), 4)
    )
    assert float(hsic(k, m)) == pytest.approx(total / (6 * 5 * 4 * 3), rel=1e-9)


def test_minibatches_sum_before_the_ratio():
    x, y = drawn(12, 5), drawn(12, 3, seed=8)
    parts = [(x[:6], y[:6]), (x[6:], y[6:])]
    sums = [sum(float(hsic(gram(pair[a]), gram(pair[b]))) for pair in parts) for a, b in ((0, 1), (0, 0), (1, 1))]
    assert minibatch_cka(parts) == pytest.approx(sums[0] / (sums[1] * sums[2]) ** 0.5)
    whole = table(([a, b], [b]) for a, b in parts)
    assert whole.shape == (2, 1) and float(whole[0, 0]) == pytest.approx(minibatch_cka(parts))
    assert float(whole[1, 0]) == pytest.approx(1)
    with pytest.raises(pl.BadInput, match="3 samples"):
        pl.cka(x[:3], y[:3])


def stack(depth, *, extra=False):
    """Alike blocks; with `extra` each ends in a scale of its own kind."""

    def block():
        return nn.Sequential(nn.Linear(6, 6), nn.Tanh() if extra else nn.ReLU(), *([nn.Softsign()] if extra else []))

    torch.manual_seed(3)
    return nn.Sequential(*(block() for _ in range(depth)), nn.Linear(6, 9 if extra else 4))


def test_what_repeats_from_block_to_block_is_said_once_and_the_largest_first():
    found = pl.map_difference(stack(24), stack(24, extra=True), (1, 6))
    folds = found.folded
    assert [(f.places, f.count) for f in folds.changed] == [(("24", "24"), 1), (("0…23.1", "0…23.1"), 24)]
    assert [f.parameters for f in folds.changed] == [6 * 9 + 9, 0]
    assert [(f.places, f.count) for f in folds.added] == [(("0…23.2",), 24)]
    assert sum(f.count for f in (*folds.changed, *folds.added, *folds.removed, *folds.renamed)) == sum(
        len(items) for items in (found.parts.changed, found.parts.added, found.parts.removed, found.parts.renamed)
    )
    text = terminal(words_of(found, 80), width=80)
    assert "×24" in text and len(text.split("\n")) < 40 and max(map(len, text.split("\n"))) <= 80
    assert json.loads(json.dumps(facts(found)))["folded"]["added"][0]["count"] == 24


def test_ranges_are_written_only_where_they_are_full():
    def text(*places):
        (found,) = folded(((place,), (), 0) for place in places)
        return found.places[0]

    assert text("a.0.b", "a.1.b", "a.2.b") == "a.0…2.b"
    assert text("a.0.b", "a.3.b") == "a.[0, 3].b"
    assert text("a.0.1", "a.1.1", "a.0.2", "a.1.2") == "a.0…1.1…2"
    assert text("a.0.1.b", "a.1.2.b") == "a.[0.1, 1.2].b"
    assert text(*(f"a.{i}.{i * i}" for i in range(20))) == "a.*.*"
    assert text("conv1.w#2") == "conv1.w#2"
    rows = [((f"features.{i}.weight",), (), 0) for i in range(9)]
    assert len(folded(rows, tensors=True)) == 9 and len(folded(rows)) == 1


def first():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))


def test_planted_changes_of_structure_are_named():
    a = first()
    b = nn.Sequential(a[0], nn.BatchNorm2d(8), a[1], copy.deepcopy(a[2]), a[3], a[4], nn.Linear(128, 6))
    parts = pl.map_difference(a, b, (1, 3, 8, 8)).parts
    assert parts.same == (("0", "0"),) and parts.added == ("1",) and parts.removed == ()
    assert parts.renamed == (("1", "2"), ("2", "3"), ("3", "4"), ("4", "5"))
    ((site, other, what),) = [(c.site, c.other, c.what) for c in parts.changed]
    assert (site, other) == ("5", "6") and what == ("linear 4x128, now 6x128", "output 1x4, now 1x6")
    back = pl.map_difference(b, a, (1, 3, 8, 8)).parts
    assert back.removed == ("1",) and back.added == () and len(back.renamed) == 4


def test_a_network_does_not_differ_from_itself():
    a = first()
    found = pl.map_difference(a, a, torch.randn(12, 3, 8, 8))
    assert not (found.parts.changed or found.parts.renamed or found.parts.added or found.parts.removed)
    assert all(w.largest == 0 and w.relative == 0 for w in found.weights) and len(found.weights) == 6
    assert found.similarity.diagonal().tolist() == pytest.approx([1.0] * 6) and found.samples == 12


def test_weights_that_moved_come_first_with_how_far():
    a = first()
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[2].weight.mul_(-2)
        b[5].bias.add_(1)
    found = pl.map_difference(a, b, (1, 3, 8, 8)).weights
    moved = {w.name: w for w in found if w.largest > 0}
    assert set(moved) == {"2.weight", "5.bias"} == {w.name for w in found[:2]}
    assert moved["2.weight"].relative == pytest.approx(3) and moved["2.weight"].cosine == pytest.approx(-1)
    assert moved["5.bias"].largest == pytest.approx(1)


def test_weights_of_zero_have_no_relative_change_but_a_largest():
    zero, one = torch.zeros(3), torch.tensor([0.0, 2.0, 0.0])
    change = weight_change("w", "w", zero, one)
    assert change.relative is None and change.cosine is None and change.largest == 2
    assert weight_change("w", "w", zero, zero).relative == 0


def test_activations_follow_the_samples_also_in_batches():
    a, x = first(), torch.randn(70, 3, 8, 8)
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[0].weight.mul_(2)
        b[0].bias.mul_(2)
    found = pl.map_difference(a, b, x)
    assert found.sites_a == found.sites_b == tuple("012345")
    with torch.no_grad():
        expected = minibatch_cka((a[0](part), b[:3](part)) for part in x.split(32))
    assert float(found.similarity[0, 2]) == pytest.approx(expected, abs=1e-6)
    assert float(found.similarity[1, 1]) == pytest.approx(1)  # scaled before a ReLU: the same up to scale
    few = pl.map_difference(a, b, x[:3])
    assert few.similarity.numel() == 0 and "3 samples" in few.notes[0]


def test_facts_of_weights_are_those_of_numpy_and_linear_algebra():
    w = drawn(6, 2, 2, 2)
    w[0] = 0
    facts = facts_of("w", w)
    matrix = w.numpy().reshape(6, 8)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(matrix @ matrix.T)[::-1], 0, None))
    assert np.allclose(facts.spectrum, values, atol=1e-7) and facts.zeros == pytest.approx(1 / 6)
    assert facts.norm == pytest.approx(float(np.linalg.norm(matrix))) and facts.mean == pytest.approx(matrix.mean())
    assert facts.histogram == tuple(np.histogram(matrix, 32)[0]) and sum(facts.histogram) == 48
    assert facts.stable_rank == pytest.approx(float((values**2).sum() / values[0] ** 2))


def test_stable_rank_of_a_rotation_is_its_size_and_of_one_direction_one():
    assert facts_of("q", orthogonal(9)).stable_rank == pytest.approx(9)
    assert facts_of("r", torch.outer(drawn(5), drawn(7))).stable_rank == pytest.approx(1)
    flat = facts_of("zero", torch.zeros(3, 3))
    assert flat.stable_rank is None and flat.zeros == 1 and sum(flat.histogram) == 9


def test_weights_lists_every_tensor_and_says_what_it_left_out():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2050, 2050, bias=False))
    found = pl.weights(net)
    assert [t.name for t in found.tensors][:2] == ["0.weight", "0.bias"] and found.filters == "0"
    assert found.skipped == ("2.weight",) and found.count == sum(t.numel() for t in net.state_dict().values())
    given = pl.weights({"a": torch.eye(3), "b": torch.arange(4), "c": torch.empty(0)})
    assert [(t.name, t.dtype) for t in given.tensors] == [("a", "float32"), ("b", "int64")]
    with pytest.raises(pl.BadInput, match="no weights"):
        pl.weights(nn.ReLU())


def test_the_maps_of_a_difference_are_dark_where_something_changed():
    a = first()
    b = nn.Sequential(*copy.deepcopy(a)[:5], nn.Linear(128, 6))
    with torch.no_grad():
        b[2].weight.mul_(1.25)
    found = pl.map_difference(a, b, (1, 3, 8, 8))
    for second, graph in ((False, found.a.graph), (True, found.b.graph)):
        by = dict(zip(map(graph.site_of, range(len(graph.groups))), changes(found, second=second).groups, strict=True))
        assert by["0"] == by["1"] == 0 and by["2"] == pytest.approx(0.25) and by["5"] == by[""] == 1


def test_results_are_shown_and_saved_in_every_form(tmp_path):
    a = first()
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[2].weight.mul_(1.5)
    for found in (pl.map_difference(a, b, torch.randn(9, 3, 8, 8)), pl.weights(a)):
        for ending in ("html", "svg", "png", "pdf", "json"):
            assert found.save(tmp_path / f"it.{ending}").stat().st_size > 500
        assert "2.weight" in terminal(view_of(found), width=100)
        assert "2.weight" in str(facts(found)) and "<svg" in found._repr_html_()
