"""CRAFT on networks whose concepts are planted, its numbers against their definitions, its refusals and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.concepts.importance import interval
from pellucid.concepts.matching import likeness
from pellucid.core.check import Verdict

SIDE, CELL = 24, 8
COLORS = torch.eye(3)
USED, UNUSED = 0, 1  # what class 1 goes by, and what it does not


class Painted(nn.Module):
    """Six channels that see red, green and blue, two each, on a grid of cells; class 1 counts red less blue."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 6, CELL, CELL, bias=False)
        self.act, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        self.answer = nn.Linear(6, 2, bias=False)
        with torch.no_grad():
            for channel in range(6):
                strength = 1.0 if channel % 2 == 0 else 0.5
                self.see.weight[channel] = strength * COLORS[channel // 2][:, None, None] / CELL**2
            self.answer.weight.copy_(torch.tensor([[0.0] * 6, [3.0, 3.0, 0.0, 0.0, -1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.pool(self.act(self.see(x))).flatten(1))


def pictures(count: int = 8) -> Tensor:
    """Cells that are red, green or blue, each by chance and of a brightness of its own."""
    which = torch.randint(3, (count, SIDE // CELL, SIDE // CELL))
    bright = 0.3 + 0.7 * torch.rand(count, SIDE // CELL, SIDE // CELL)
    cells = COLORS[which] * bright[..., None]
    return cells.movedim(-1, 1).repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)


@pytest.fixture(scope="module")
def found() -> pl.concepts.Concepts:
    torch.manual_seed(0)
    return pl.concepts.craft(Painted().eval(), pictures(), 1, "act", concepts=3, crops=(1 / 3,), designs=64)


def planted() -> Tensor:
    """The direction of each color in the channels."""
    truth = torch.zeros(3, 6)
    for channel in range(6):
        truth[channel // 2, channel] = 1.0 if channel % 2 == 0 else 0.5
    return truth / truth.norm(dim=1, keepdim=True)


def test_planted_concepts_are_found_and_ranked_by_what_they_do(found: pl.concepts.Concepts) -> None:
    assert float(likeness(planted(), found.bank).min()) > 0.999
    colors = (found.bank @ planted().T).argmax(1).tolist()
    assert colors == [0, 2, 1]  # red counts three times what blue does, green nothing
    assert float(found.importance[2, 0]) == pytest.approx(0.0, abs=1e-6)
    assert found.beats_chance()[2] is False and found.removed[:, 2].abs().max() < 1e-4
    assert float(found.removed[:, 1].mean()) < 0 < float(found.removed[:, 0].mean())
    verdicts = {c.name: c.verdict for c in found.checks}
    assert verdicts["fidelity"] is Verdict.HOLDS and verdicts["stability"] is Verdict.HOLDS
    assert verdicts["halves"] is Verdict.HOLDS


def test_concepts_that_nothing_is_made_of_are_left_out() -> None:
    more = pl.concepts.craft(Painted().eval(), pictures(), 1, "act", concepts=5, crops=(1 / 3,), designs=8, starts=1)
    assert len(more.bank) == 3 and float(likeness(planted(), more.bank).min()) > 0.999
    assert more.origin.notes == ("2 of 5 concepts stayed empty and are left out.",)
    assert "stayed empty" in more._repr_html_()


def test_indices_are_those_of_a_linear_score(found: pl.concepts.Concepts) -> None:
    """f(m) = sum of w_k m_k with m uniform: the total index of k is w_k^2 over the sum of all."""
    weight = found.removed.square()
    assert torch.allclose(found.indices, weight / weight.sum(1, keepdim=True), atol=0.02)


def test_contributions_of_a_linear_head_add_up_to_its_score(found: pl.concepts.Concepts) -> None:
    assert torch.allclose(found.contributions.sum((1, 2, 3)).double(), found.scores[:, 1], atol=1e-4)
    assert torch.allclose(found.contributions.sum((2, 3)).double(), found.removed, atol=1e-3)


def test_the_best_crops_are_of_one_color_and_of_different_pictures(found: pl.concepts.Concepts) -> None:
    for k, color in enumerate((0, 2, 1)):
        best = found.best_crops(k)
        assert len({int(found.boxes[i, 0]) for i in best}) == len(best) == 6
        for i in best:
            picture, top, left, side = found.boxes[i].tolist()
            middle = found.pictures[picture, :, top + side // 2, left + side // 2]
            assert int(middle.argmax()) == color


def test_too_few_concepts_are_said_to_leave_out_too_much() -> None:
    one = pl.concepts.craft(Painted().eval(), pictures(), 1, "act", concepts=1, crops=(1 / 3,), designs=8)
    fidelity = one.checks[0]
    assert fidelity.verdict is Verdict.FAILS and "leave out something" in fidelity.why


def test_one_new_picture_is_read_with_the_same_concepts(found: pl.concepts.Concepts) -> None:
    red = COLORS[0].view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    local = pl.concepts.applied(found, Painted().eval(), red, 1)
    assert torch.equal(local.bank, found.bank)
    assert local.indices[0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)
    assert bool(local.importance[:, 1].isnan().all())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_it_follows_the_networks_precision(kind: torch.dtype, found: pl.concepts.Concepts) -> None:
    net, x = Painted().eval().to(kind), pictures(4)
    ours = pl.concepts.craft(net, x, 1, "act", concepts=3, crops=(1 / 3,), designs=8, starts=1)
    assert float(likeness(found.bank.double(), ours.bank.double()).min()) > 0.999
    grouped = pl.concepts.groups(net, x, 1, "act", count=3)
    assert float(likeness(found.bank.double(), grouped.vectors.double()).min()) > 0.999
    assert pl.concepts.relevance(net, x[:1], 1, "act", most=2).maps.shape == (2, SIDE, SIDE)


def test_it_is_the_same_again_and_touches_nothing() -> None:
    net, x = Painted().train(), pictures(4)
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.random.get_rng_state()
    a, b = (pl.concepts.craft(net, x, 1, concepts=2, designs=8) for _ in range(2))
    assert torch.equal(a.bank, b.bank) and torch.equal(a.importance, b.importance) and repr(a.checks) == repr(b.checks)
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_stopped_run_keeps_the_pictures_that_were_finished() -> None:
    x = pictures()
    asked = list[int]()

    def run(stop_after: float) -> pl.concepts.Concepts:
        asked.clear()

        def stop() -> bool:
            asked.append(1)
            return len(asked) > stop_after

        with pl.running(pl.Run(stop=stop)):
            return pl.concepts.craft(Painted().eval(), x, 1, "act", concepts=2, designs=8, starts=1)

    run(float("inf"))
    part = run(len(asked) - 12)
    assert 0 < len(part.scores) < 8 and part.origin.stopped == f"after {len(part.scores)} of 8 pictures"
    with pytest.raises(pl.Stopped), pl.running(pl.Run(stop=lambda: True)):
        pl.concepts.craft(Painted().eval(), pictures(), 1, "act", concepts=2)


def test_what_does_not_fit_is_refused_before_anything_heavy() -> None:
    net, x = Painted().eval(), pictures(4)
    with pytest.raises(pl.BadInput, match="at least 3"):
        pl.concepts.craft(net, x[:2], 1)
    with pytest.raises(pl.BadInput, match=r"channels, height, width.*Sites that fit: act"):
        pl.concepts.craft(net, x, 1, "answer")
    negative = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(1600, 2))
    with pytest.raises(pl.BadInput, match=r"goes down to -.*Sites that fit: 1"):
        pl.concepts.craft(negative, x, 1, "2")
    with pytest.raises(pl.BadInput, match="differ in size"):
        pl.concepts.craft(net, [x[0], x[1], torch.rand(3, 32, 32)], 1)
    with pytest.raises(pl.BadOption, match="crops"):
        pl.concepts.craft(net, x, 1, crops=(2.0,))
    with pytest.raises(pl.BadOption, match="concepts=0"):
        pl.concepts.craft(net, x, 1, concepts=0)
    with pytest.raises(pl.BadTarget):
        pl.concepts.craft(net, x, "goldfinch")


def test_the_interval_is_that_of_the_mean() -> None:
    values = torch.randn(400, 2, dtype=torch.float64)
    low, high = interval(values)
    assert torch.allclose(high - low, 2 * 1.96 * values.std(0) / 20, rtol=0.1)


def test_it_is_kept_in_a_file_and_shown(found: pl.concepts.Concepts, tmp_path: Path) -> None:
    again = pl.load(found.save(tmp_path / "found.pellucid"))
    assert type(again) is type(found) and torch.equal(again.bank, found.bank)
    assert repr(again.checks) == repr(found.checks) and again.origin == found.origin and again.names == found.names
    html = found.save(tmp_path / "found.html").read_text()
    assert again.save(tmp_path / "again.html").read_text() == html
    for words in ("Concept 1:", "Do the concepts say what the network needs?", "Importance"):
        assert words in html
    assert found.save(tmp_path / "found.png").stat().st_size > 5000
