"""TCAV on networks that use one direction and no other; how often chance is taken for a finding; refusals; the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import pellucid as pl
from pellucid.concepts.directions import _PENALTY, direction, separator

WIDTH = 40


def plain(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Curved(nn.Module):
    """Class 1 goes by inputs 0 and 1 alone, and bends with them, so that slopes differ between samples."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.same(x)
        score = torch.tanh(h[:, 0]) - torch.tanh(h[:, 1]) + 0.05 * torch.sin(3 * h).sum(1)
        return torch.stack((torch.zeros_like(score), score), 1)


def shifted(index: int, seed: int, by: float = 2.5) -> Tensor:
    x = plain(20, WIDTH, seed=seed)
    x[:, index] += by
    return x


def asked(**options: object) -> pl.concepts.Tcav:
    concepts = {
        "for": shifted(0, 1),
        "against": shifted(1, 2),
        "unrelated": shifted(5, 3),
        "nothing": plain(20, WIDTH, seed=4),
    }
    return pl.concepts.tcav(
        Curved(), concepts, plain(100, WIDTH, seed=5), plain(40, WIDTH, seed=6), 1, "same", **options
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["pattern", "classifier"])
def test_the_planted_directions_come_out_and_the_others_do_not(kind: str) -> None:
    found = asked(kind=kind)
    assert [t.significant for t in found.tested] == [True, True, False, False]
    assert found.of("for").score > 0.9 and found.of("against").score < 0.1
    assert "more of it raises the score" in found.of("for").words
    assert "lowers the score" in found.of("against").words
    assert found.of("unrelated").words.startswith("Not significant")
    assert found.of("unrelated").learnable and not found.of("nothing").learnable
    assert int(found.of("for").vector.abs().argmax()) == 0


def test_chance_is_seldom_taken_for_a_finding_where_the_usual_test_nearly_always_does() -> None:
    """24 sets of random samples as concepts: at level 0.05 more than 4 findings have a chance of 0.6 %.

    The usual test takes runs that share the concept's samples for independent.
    """
    ours, usual = 0, 0
    for i in range(24):
        concept, pool, x = (plain(n, WIDTH, seed=1000 + 3 * i + k) for k, n in enumerate((20, 60, 16)))
        t = pl.concepts.tcav(Curved(), {"set": concept}, pool, x, 1, "same", runs=10, held_out=0.1).tested[0]
        ours += t.significant
        usual += bool(scipy.stats.ttest_ind(t.effects, t.chance_effects, equal_var=False).pvalue < 0.05)
    assert ours <= 4 and usual > 6


def test_scores_are_shares_of_samples_by_definition() -> None:
    found, x = asked(runs=10), plain(40, WIDTH, seed=6).requires_grad_()
    (slope,) = torch.autograd.grad(Curved()(x)[:, 1].sum(), x)
    t = found.of("for")
    along = (slope / slope.norm(dim=1, keepdim=True)) @ t.vector
    assert torch.allclose(torch.tensor(t.each), along, atol=1e-5)
    assert t.score == pytest.approx(float((along > 0).float().mean()), abs=0.1)


def test_a_picture_is_asked_about_by_channels_and_slopes_are_summed_over_places() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[..., None, None])
        net[3].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    pool, red = torch.rand(40, 3, 6, 6), torch.rand(10, 3, 6, 6) * 0.2 + torch.tensor([0.8, 0.4, 0.4]).view(3, 1, 1)
    found = pl.concepts.tcav(net, {"red": red}, pool, torch.rand(8, 3, 6, 6), 1, ["0", "2"], runs=10)
    assert [t.site for t in found.tested] == ["0", "2"]
    assert found.of("red", "0").effect == pytest.approx(float(found.of("red", "0").vector[0]), abs=0.01)
    assert found.of("red", "0").vector.tolist() == pytest.approx(found.of("red", "2").vector.tolist(), abs=1e-4)


def test_tokens_are_asked_about_by_their_width() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.head = nn.Identity(), Curved()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.same(x).mean(1))

    concepts = {"for": shifted(0, 1)[:, None].expand(-1, 3, -1)}
    pool, x = plain(60, 3, WIDTH, seed=5), plain(20, 3, WIDTH, seed=6)
    found = pl.concepts.tcav(Tokens(), concepts, pool, x, 1, "same", runs=12)
    assert len(found.of("for").vector) == WIDTH and int(found.of("for").vector.argmax()) == 0
    assert found.of("for").significant and found.of("for").effect > 0


def test_relative_directions_tell_concepts_from_each_other() -> None:
    concepts = {"for": shifted(0, 1), "against": shifted(1, 2)}
    pool, x = plain(100, WIDTH, seed=5), plain(40, WIDTH, seed=6)
    found = pl.concepts.tcav(Curved(), concepts, pool, x, 1, "same", relative=True)
    a, b = (t.vector for t in found.tested)
    assert float(a @ b) < -0.95
    assert all(t.significant for t in found.tested)


def test_the_separator_is_scikit_learns() -> None:
    first, second = plain(30, 5, seed=1).double() + 0.7, plain(20, 5, seed=2).double()
    x, y = torch.cat((first, second)), np.r_[np.ones(30), np.zeros(20)]
    share = torch.cat((torch.full((30,), 0.5 / 30), torch.full((20,), 0.5 / 20))).double()
    middle = share @ x
    size = float((share @ (x - middle).square().sum(1)).sqrt())
    model = LogisticRegression(C=1 / _PENALTY, tol=1e-10, max_iter=1000)
    model.fit(((x - middle) / size).numpy(), y, sample_weight=share.numpy())
    ours = separator(first, second)
    assert (ours.weights * size).tolist() == pytest.approx(model.coef_[0].tolist(), abs=1e-4)
    assert ours.offset + float(ours.weights @ middle) == pytest.approx(float(model.intercept_[0]), abs=1e-4)


def test_a_pattern_is_not_turned_away_by_what_distracts() -> None:
    """The concept lies along 0; a strong distractor along 1 is in 0 as well, and the classifier subtracts it."""
    noise = 4 * plain(400, 1, seed=7)
    base = 0.3 * plain(400, 6, seed=8)
    base[:, :2] += noise
    first, second = base[:200].clone(), base[200:]
    first[:, 0] += 1.0
    truth = torch.eye(6)[0]
    pattern, classifier = (float(direction(kind, first, second) @ truth) for kind in ("pattern", "classifier"))
    assert pattern > 0.85 and classifier < 0.8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"concepts": {}}, "No concept"),
        ({"concepts": {"few": plain(5, WIDTH, seed=1)}}, "'few' has 5 samples"),
        ({"random": plain(11, WIDTH, seed=1)}, "11 random samples"),
        ({"relative": True}, "at least two"),
        ({"random": torch.cat((plain(20, WIDTH, seed=1), shifted(0, 1)[:1]))}, "the sets overlap"),
        ({"runs": 3}, "runs=3"),
        ({"at": "nowhere"}, "no module at 'nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_refused(change: dict[str, object], said: str) -> None:
    given = {
        "concepts": {"for": shifted(0, 1)}, "random": plain(40, WIDTH, seed=5), "data": plain(9, WIDTH, seed=6),
        "target": 1, "at": "same",
    }  # fmt: skip
    with pytest.raises(pl.PellucidError, match=said):
        pl.concepts.tcav(Curved(), **{**given, **change})


def test_it_is_the_same_again_and_kept_in_a_file(tmp_path: Path) -> None:
    found, other = asked(runs=10), asked(runs=10)
    again = pl.load(found.save(tmp_path / "found.pellucid"))
    for a in (other, again):
        assert repr(a.tested) == repr(found.tested)
        assert all(torch.equal(t.vector, u.vector) for t, u in zip(a.tested, found.tested, strict=True))
    html = found.save(tmp_path / "found.html").read_text()
    assert "Not significant" in html and "Raises the score" in html
    assert again.save(tmp_path / "again.html").read_text() == html
