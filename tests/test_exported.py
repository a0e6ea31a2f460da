"""Exported programs and scripts: the same numbers as the model, sites with its names, rules that see operations."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel


class Mixed(nn.Module):
    """Attention, a reused layer, an operation in place, an index, constants in no file, and a structured output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.again = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.mask = torch.arange(4.0).view(4, 1, 1)  # no buffer
        self.register_buffer("scale", torch.tensor([2.0]), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = nn.functional.silu(self.body(x.to(torch.float32)) * self.mask, inplace=True)
        x = x[:, [3, 1, 2, 0]]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        tokens = self.again(torch.relu(self.again(tokens)))
        return {"logits": self.head(tokens.mean(1)) * self.scale, "tokens": tokens}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    model, path = Mixed().eval(), tmp_path_factory.mktemp("exported") / "mixed.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = {"x": {0: batch}}
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 6, 6),), dynamic_shapes=shapes), path)
    return path, model


def test_an_exported_program_gives_what_the_model_gave(program: tuple[Path, nn.Module]) -> None:
    path, model = program
    net = pl.open(path)
    assert net.inputs == ("x",) and net.borrowed_because == "" and not net.model.training
    for count in (1, 3):
        x = torch.rand(count, 3, 6, 6)
        with torch.no_grad():
            found, wanted = net.model(x), model(x)
        assert list(found) == list(wanted)
        assert all(torch.allclose(found[k], wanted[k], atol=1e-6) for k in wanted)
    assert any("exported for inputs of x" in note for note in net.notes)
    assert {"body.0.conv2d", "body.1.batch_norm", "body.2.relu"} <= {s.path for s in net.sites}
    with pytest.raises(BadInput, match="takes 1 input; 2 were given"):
        net.model(x, x)


@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "lrp", "integrated_gradients"])
def test_methods_and_rules_give_what_they_give_for_the_model(method: str, program: tuple[Path, nn.Module]) -> None:
    path, model = program
    x = torch.rand(1, 3, 6, 6)
    run = getattr(pl.methods, method)
    found, wanted = (run(pl.open(m, output="logits"), x, 1) for m in (path, model))
    assert torch.allclose(found.values, wanted.values, atol=1e-5), method


def test_a_program_with_branches_is_refused(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda v: v + 1, lambda v: v - 1, (x,))

    torch.export.save(torch.export.export(Branches(), (torch.ones(2),)), tmp_path / "b.pt2")
    with pytest.raises(BadModel, match=r"does not let torch run|control flow"):
        pl.open(tmp_path / "b.pt2")


@pytest.fixture
def script(tmp_path: Path) -> tuple[Path, nn.Module]:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(model), tmp_path / "s.pt")
    return tmp_path / "s.pt", model


def test_a_script_opens_when_trusted_or_gives_its_weights(script: tuple[Path, nn.Module]) -> None:
    path, model = script
    x = torch.rand(1, 3, 6, 6)
    with pytest.raises(BadModel, match="brings code of its own"):
        pl.open(path)
    weights = pl.open(path, architecture=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)))
    assert torch.equal(weights.model(x), model(x))
    net = pl.open(path, trusted=True)
    assert torch.equal(net.model(x), model(x)) and "rules cannot see" in net.notes[0]
    assert torch.allclose(pl.methods.saliency(net, x, 1).values, pl.methods.saliency(model, x, 1).values)


def test_pooling_to_one_value_has_its_rule(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 6, 6),)), path := tmp_path / "pooled.pt2")
    x = torch.rand(1, 3, 6, 6)
    e = pl.methods.lrp(pl.open(path), x, pl.logit(0))
    assert e.without_rule == ()
    torch.testing.assert_close(e.values, pl.methods.lrp(pl.open(model), x, pl.logit(0)).values)


def test_the_map_of_a_program_shows_the_modules_that_it_came_from(program: tuple[Path, nn.Module]) -> None:
    found = pl.map(program[0])
    nodes, groups = found.graph.nodes, found.graph.groups
    named = dict(zip(groups.path, zip(groups.kind, groups.parameters, strict=True), strict=True))
    model = program[1]
    for path in ("body", "body.0", "head"):
        assert named[path] == ("", sum(p.numel() for p in model.get_submodule(path).parameters()))
    below = {groups.path[group] for group, site in zip(nodes.group, nodes.site, strict=True) if "body.0." in site}
    assert below == {"body.0"} and set(groups.path) <= {path for path, _ in model.named_modules()}
    assert found.totals.modules == len(groups)


def test_sizes_that_are_free_have_letters_and_are_said(tmp_path: Path) -> None:
    batch, steps = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("steps")
    x = torch.zeros(3, 5, 4)
    exported = torch.export.export(nn.Linear(4, 2), (x,), dynamic_shapes=({0: batch, 1: steps},))
    torch.export.save(exported, tmp_path / "free.pt2")
    (note,) = pl.open(tmp_path / "free.pt2").notes
    assert "input NxMx4 (N from 2 to 64, M any number)" in note


def test_an_input_that_the_file_was_not_made_for_is_refused_with_both_shapes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 4 * 4, 5))
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 6, 6),)), tmp_path / "fixed.pt2")
    net = pl.open(tmp_path / "fixed.pt2")
    for shape in ((2, 3, 9, 9), (2, 1, 6, 6)):
        with pytest.raises(BadInput) as said:
            pl.methods.saliency(net, torch.rand(shape), 0)
        assert str(list(shape[1:]))[1:] in said.value.what and "[batch, 3, 6, 6]" in said.value.what
        assert "size=6" in said.value.typed
        with pytest.raises(BadInput, match="made for"):
            pl.map(net, shape)


def test_other_sizes_that_do_run_are_run(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 6, 6),)), tmp_path / "any.pt2")
    x = torch.rand(2, 3, 9, 9)
    assert torch.allclose(pl.open(tmp_path / "any.pt2").model(x), model(x), atol=1e-6)
