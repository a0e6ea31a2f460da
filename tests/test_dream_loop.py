"""The climb: pictures that do not depend on their neighbors, on memory, or on having been interrupted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel, BadOption, BadTarget, Stopped
from pellucid.core.network import Network
from pellucid.core.run import Progress, Run, current, running
from pellucid.dream.dream import Dream
from pellucid.dream.painting.optimize import shortened
from pellucid.dream.painting.optimizer import moved
from pellucid.dream.recipe import Recipe
from tests.dreamed import QUICK, convolutions, like
from tests.networks import seeded

TARGETS = [pl.channel("2", 1), pl.logit(2), pl.channel("0", 4), pl.logit(0) - pl.logit(1), pl.logit(2)]


def dreamed(targets=TARGETS, run: Run | None = None, **knobs) -> Dream:
    with running(run or Run()):
        return pl.dream.maximize(convolutions(), targets, like=like(3, 14, 15), recipe=QUICK, **knobs)


def stops_after(count: int) -> Run:
    """A run whose stop is pressed once so many steps were reported."""
    told: list[Progress] = []
    return Run(progress=told.append, stop=lambda: len(told) >= count)


def near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=2e-4)


@pytest.mark.parametrize("knobs", [{}, {"parametrization": "phase"}, {"clip": 0.1, "crops": 2}], ids=str)
def test_a_picture_does_not_depend_on_its_neighbors(knobs) -> None:
    together = dreamed(**knobs)
    for i in (0, 1, 3):
        assert near(dreamed(TARGETS[i], **knobs).pictures[0], together.pictures[i])
    backwards = dreamed(TARGETS[3::-1], **knobs)
    assert near(backwards.pictures, together.pictures[:4].flip(0))
    assert not near(together.pictures[1], together.pictures[4])  # the same target twice gives two pictures


def test_directions_of_equal_shape_keep_their_pictures_too() -> None:
    one, other = (pl.direction("2", torch.eye(6)[i]) for i in (0, 1))
    assert near(dreamed([one, other]).pictures[1], dreamed(other).pictures[0])


@pytest.mark.parametrize(
    "run", [Run(max_batch=1), Run(max_batch=2), Run(memory=1), Run(channels_last=False, folding=False)]
)
def test_a_picture_does_not_depend_on_how_many_fit_into_a_pass(run: Run) -> None:
    assert near(dreamed(run=run).pictures, dreamed().pictures)


def test_the_seed_decides_and_nothing_else() -> None:
    first = dreamed(run=Run(seed=3))
    torch.manual_seed(99)
    again = dreamed(run=Run(seed=3))
    assert torch.equal(first.pictures, again.pictures) and first.seed == 3
    assert torch.equal(first.state.scores, again.state.scores)
    other = dreamed(run=Run(seed=4))
    assert all(not near(a, b) for a, b in zip(first.pictures, other.pictures, strict=True))


@pytest.mark.parametrize("name", ["adam", "nadam", "sgd"])
def test_steps_are_those_of_torch(name: str) -> None:
    kinds = {"adam": torch.optim.Adam, "nadam": torch.optim.NAdam, "sgd": partial(torch.optim.SGD, momentum=0.9)}
    x = torch.randn(3, 4, generator=seeded(1), dtype=torch.float64)
    theirs, memory = x.clone().requires_grad_(), dict[str, Tensor]()
    optimizer = kinds[name]([theirs], lr=0.1)
    for number in range(1, 30):
        grad = torch.randn(3, 4, generator=seeded(number), dtype=torch.float64) + 0.3 * x
        theirs.grad = grad
        optimizer.step()
        x, memory = moved(name, 0.1, number, x, grad, memory)
        assert torch.allclose(x, theirs, atol=1e-10)


def test_the_first_dream_does_not_load_torchs_compiler() -> None:
    code = (
        "import sys, torch, pellucid as pl;"
        "pl.dream.maximize(torch.nn.Conv2d(1, 2, 3), pl.channel('', 1), like=torch.rand(1, 1, 8, 8), steps=2);"
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("longest", [0.5, 3.0])
def test_each_pictures_gradient_is_cut_to_its_length(longest: float) -> None:
    grad = torch.randn(2, 3, 4, generator=seeded(1)) * torch.tensor([0.1, 5.0]).view(2, 1, 1)
    found = shortened(grad, longest)
    for one, before in zip(found, grad, strict=True):
        assert float(one.norm()) == pytest.approx(min(longest, float(before.norm())), rel=1e-5)
        assert torch.allclose(one * before.norm(), before * one.norm(), atol=1e-4)
    assert shortened(grad, 0.0) is grad


WAYS = [
    {"optimizer": "adam"}, {"optimizer": "nadam"}, {"optimizer": "sgd"}, {"optimizer": "sign"},
    {"parametrization": "cppn"}, {"parametrization": "laplacian", "schedule": "cosine"},
    {"parametrization": "pixels", "blur_each": 2, "small_norm": 10.0}, {"shared": 0.5, "opacity": True},
    {"diversity": 1.0}, {"patience": 50, "schedule": "tail", "blur": 2.0, "tile": True, "flip": True},
]  # fmt: skip


@pytest.mark.parametrize("knobs", WAYS, ids=str)
def test_an_interruption_changes_nothing(knobs, tmp_path: Path) -> None:
    targets = [pl.channel("2", 1), pl.channel("2", 3)]
    whole = dreamed(targets, Run(seed=7), steps=6, **knobs)
    part = dreamed(targets, replace(stops_after(3), seed=7), steps=6, **knobs)
    assert part.state.step == 3 and part.stopped == "after 3 of 6 steps"
    kept = pl.load(part.save(tmp_path / "part.pellucid"))
    for stopped, net in ((part, None), (kept, convolutions())):
        ended = pl.dream.resume(stopped, net, steps=3)  # under another seed than it was begun with
        assert torch.equal(ended.pictures, whole.pictures)
        assert torch.equal(ended.state.scores, whole.state.scores) and ended.scores == whole.scores
        assert ended.stopped == "" and ended.seed == 7 and ended.state.step == 6


def test_a_dream_that_began_at_a_picture_is_gone_on_with(tmp_path: Path) -> None:
    begins = like(3, 14, 15, batch=1)
    for knobs in ({"stay": 3.0}, {"parametrization": "phase"}):
        whole = dreamed(TARGETS[:2], steps=5, begins=begins, **knobs)
        part = dreamed(TARGETS[:2], stops_after(2), steps=5, begins=begins, **knobs)
        kept = pl.load(part.save(tmp_path / "part.pellucid"))
        assert torch.equal(pl.dream.resume(kept, convolutions(), steps=3).pictures, whole.pictures)


def test_watching_shows_every_step_and_ends_as_maximize_does() -> None:
    seen = list(pl.dream.watch(convolutions(), TARGETS, like=like(3, 14, 15), recipe=QUICK))
    assert [d.state.step for d in seen] == [1, 2, 3, 4]
    assert torch.equal(seen[-1].pictures, dreamed().pictures) and seen[-1].scores == dreamed().scores
    assert torch.equal(seen[1].pictures, dreamed(run=stops_after(2)).pictures)
    assert seen[0].scores == tuple(seen[0].state.scores[-1].tolist())


def test_two_dreams_may_be_watched_at_once_and_left_at_any_step() -> None:
    outside = current()
    both = [pl.dream.watch(convolutions(), TARGETS[i : i + 1], like=like(3, 14, 15), recipe=QUICK) for i in (0, 1)]
    torch.manual_seed(5)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    for _ in range(2):
        first, second = next(both[0]), next(both[1])
        assert current().meter is not first and current() == outside
    assert torch.equal(torch.rand(3), drawn)  # and nobody draws other numbers in between
    both[0].close()
    *_, last = both[1]
    assert torch.equal(last.pictures, dreamed(TARGETS[1]).pictures)
    assert current() == outside and second.state.step == 2


def test_a_stop_before_the_first_step_has_nothing_to_give() -> None:
    with pytest.raises(Stopped):
        dreamed(run=Run(stop=lambda: True))
    before = dreamed()
    with running(Run(stop=lambda: True)), pytest.raises(Stopped):
        pl.dream.resume(before, steps=2)


def test_progress_is_told_at_every_step_and_passes_are_counted() -> None:
    told: list[Progress] = []
    run = Run(progress=told.append)
    found = dreamed(run=run)
    assert [(p.what, p.done, p.total) for p in told] == [("steps", i, 4) for i in (1, 2, 3, 4)]
    assert found.cost.backwards >= 4 * 5 and found.cost.forwards > found.cost.backwards
    assert run.meter.backwards == found.cost.backwards and run.meter.forwards == found.cost.forwards


def test_patience_ends_a_dream_that_gains_nothing_more() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 0).flatten(1).sum(1, keepdim=True) + 1

    found = pl.dream.maximize(Constant(), pl.logit(0), like=like(), recipe=QUICK, steps=200, patience=5)
    assert 16 <= found.state.step <= 25 and found.stopped == ""
    assert any(note.startswith("Nothing was gained in 5 steps") for note in found.notes)
    again = pl.dream.resume(found, steps=30)  # who goes on with it has patience again
    assert again.state.step > found.state.step
    rising = pl.dream.maximize(convolutions(), pl.logit(0), like=like(), recipe=QUICK, steps=30, patience=20, noise=0)
    assert rising.state.step == 30 and not rising.notes


def test_numbers_that_are_none_are_the_models_fault() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - 2).flatten(1).log()

    with pytest.raises(BadModel, match="NaN or infinite"):
        pl.dream.maximize(Broken(), pl.logit(0), like=like(), recipe=QUICK)


REFUSED: dict[str, tuple[type[Exception], str, dict]] = {
    "no target": (BadOption, "Nothing was asked for", {"targets": []}),
    "a channel too high": (BadTarget, r"channel\(2, 6\)", {"targets": [pl.channel("2", 0), pl.channel("2", 6)]}),
    "a class too high": (BadTarget, "classes 0 to 3", {"targets": [pl.logit(0), pl.logit(4)]}),
    "no such site": (BadInput, "no module at 'nowhere'", {"targets": pl.channel("nowhere", 0)}),
    "an unknown class": (BadTarget, "no class names", {"targets": pl.logit("zebra")}),
    "begins of another size": (BadInput, r"is \(1, 3, 9, 9\)", {"begins": torch.rand(1, 3, 9, 9)}),
    "too many begins": (BadInput, r"expected \(5, 3", {"begins": torch.rand(2, 3, 14, 15)}),
    "begins that are no colors": (BadInput, "from 0 to 1", {"begins": 3 * torch.rand(1, 3, 14, 15)}),
    "begins without numbers": (BadInput, "from 0 to 1", {"begins": torch.full((1, 3, 14, 15), torch.nan)}),
    "a knob that there is not": (BadOption, "no option 'hue'", {"hue": 1}),
    "a price for leaving nothing": (BadOption, "stay=1", {"stay": 1.0}),
    "diversity of one": (BadOption, "two or more", {"targets": pl.channel("2", 0), "diversity": 1.0}),
    "diversity of classes": (BadOption, "reads an inner site", {"targets": [pl.logit(0)] * 2, "diversity": 1.0}),
    "smoothing of what are no pixels": (BadOption, "pixels", {"blur_each": 1}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_dreamed_is_refused_before_the_first_step(what: str) -> None:
    kind, words, given = REFUSED[what]
    told: list[Progress] = []
    with pytest.raises(kind, match=words):
        dreamed(run=Run(progress=told.append), **given)
    assert told == []


def test_what_cannot_be_gone_on_with_is_refused(tmp_path: Path) -> None:
    found = dreamed(TARGETS[0])
    kept = pl.load(found.save(tmp_path / "a.pellucid"))
    with pytest.raises(BadInput, match="without its network"):
        pl.dream.resume(kept)
    with pytest.raises(BadModel, match="other weights"):
        pl.dream.resume(kept, convolutions(seed=1))
    for steps in (0, -3):
        with pytest.raises(BadOption, match="at least 1"):
            pl.dream.resume(found, steps=steps)
    fooled = pl.dream.fool(convolutions(), like(), 1, steps=2)
    with pytest.raises(BadInput, match="fool cannot be gone on with"):
        pl.dream.resume(fooled)


def test_the_scores_are_the_targets_of_the_pictures_as_they_are() -> None:
    found, net = dreamed(), convolutions()
    with torch.no_grad():
        out, inner = net(found.pictures), net[:3](found.pictures)
        first = net[:1](found.pictures)
    expected = [inner[0, 1].mean(), out[1, 2], first[2, 4].mean(), out[3, 0] - out[3, 1], out[4, 2]]
    assert found.scores == pytest.approx([float(v) for v in expected], abs=1e-4)
    assert found.words[1] == "logit of class 2" and torch.equal(found.x["input"], found.pictures)


def test_a_named_class_is_looked_up() -> None:
    net = Network(convolutions(), labels=("ant", "bee", "cat", "dog"))
    found = pl.dream.maximize(net, [pl.logit("bee")], like=like(), recipe=Recipe(steps=1))
    assert found.words == ("logit of bee (1)",)
