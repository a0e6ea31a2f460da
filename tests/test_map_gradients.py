"""Gradients on the map, of whole passes: as autograd has them on the network itself, or a sentence on why not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

import pellucid as pl
from tests.networks import randomized


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


class Graph(Base):
    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(h.index_add(0, edges[1], h[edges[0]]).relu())


class Writes(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x) * 1
        h[:, 0] = 0
        return self.b(h)


class Anything(Base):
    def forward(self, *args: Tensor, **more: Tensor) -> Tensor:
        return super().forward(args[0])


class Remembers(Base):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if "k" not in self.cache:
            self.cache["k"] = self.a(x)
        return self.b(self.a(x) + self.cache["k"])


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        packed = rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
        return self.out(rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0][:, 0])


class Sparse(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", (torch.eye(5) + torch.eye(5).roll(1, 0)).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sparse.mm(self.edges, self.a(x)))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.out = nn.EmbeddingBag(20, 8, mode="mean"), nn.Linear(8, 3)

    def forward(self, ids: Tensor, starts: Tensor) -> Tensor:
        return self.out(self.e(ids, starts))


class Numbers(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.from_numpy(self.a(x).detach().numpy() * 2))


X, NODES = torch.linspace(-2, 1, 16).view(2, 8), torch.linspace(-1, 2, 40).view(5, 8)
EDGES = torch.tensor([[0, 1, 2, 4], [1, 2, 3, 0]])


def by_autograd(model: nn.Module, path: str, *args: Tensor) -> float:
    """The norm of the gradient of the rows' top scores at a module's output, the root of the mean square over rows."""
    held: list[Tensor] = []

    def keep(module: nn.Module, given: object, out: Tensor) -> Tensor:
        held.append(out if out.requires_grad else out.detach().requires_grad_())
        return held[-1].clone()

    hook = model.get_submodule(path).register_forward_hook(keep)
    out = model(*args)
    hook.remove()
    (grad,) = torch.autograd.grad(out.max(1).values.sum(), held)
    return float(grad.square().sum().div(len(out)).sqrt())


@pytest.mark.parametrize(
    ("make", "site", "args"),
    [
        (Graph, "a:linear.0", (NODES, EDGES)),
        (Writes, "a:linear.0", (X,)),
        (Anything, "a:linear.0", (X,)),
        (Sparse, "a:linear.0", (NODES,)),
        (Bag, "e:embedding_bag.0", (torch.arange(6), torch.tensor([0, 3]))),
    ],
)
def test_a_whole_pass_is_differentiated_whatever_its_rows_are(make: Callable[[], nn.Module], site, args):
    model = randomized(make(), 0)
    found = pl.map(model, args)
    measured = found.overlay.measures["gradient"].nodes[found.graph.nodes.site.index(site)]
    assert measured == pytest.approx(by_autograd(model, site.partition(":")[0], *args), rel=1e-5)
    assert not any("No gradients" in note for note in found.notes)


def test_what_is_written_over_has_no_gradient_and_what_is_written_has():
    model = randomized(Writes(), 0)
    h = model.a(X).detach().requires_grad_()
    written = h * 1
    written[:, 0] = 0
    written.retain_grad()
    top = model.b(written).max(1).values.sum()
    (before,) = torch.autograd.grad(top, h, retain_graph=True)
    (after,) = torch.autograd.grad(top, written)
    found = pl.map(model, X)
    measured = found.overlay.measures["gradient"].nodes
    for site, grad in ((":mul.0", before), (":setitem_.0", after)):
        expected = float(grad.square().sum().div(2).sqrt())
        assert measured[found.graph.nodes.site.index(site)] == pytest.approx(expected, rel=1e-5)
    assert float(before[:, 0].abs().sum()) == 0 < float(after[:, 0].abs().sum())


@pytest.mark.parametrize("script", [lambda m: torch.jit.trace(m, X), torch.jit.script])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripts_have_the_gradients_of_the_module_that_they_were_made_of(script):
    model = randomized(Base(), 0).eval()
    plain, scripted = pl.map(model, X), pl.map(script(model), X)
    assert not any("No gradients" in note for note in scripted.notes)

    def of_kind(found: pl.Architecture, *names: str) -> list[float]:
        pairs = zip(found.graph.nodes.op, found.overlay.measures["gradient"].nodes, strict=True)
        return [g for op, g in pairs if g is not None and op.removeprefix("aten.") in names]

    assert of_kind(scripted, "linear", "addmm", "relu") == pytest.approx(of_kind(plain, "linear", "relu"), rel=1e-5)


def test_a_network_that_remembers_its_first_pass_is_differentiated_on_another():
    found = pl.map(randomized(Remembers(), 0), X)
    assert "gradient" in found.overlay.measures and found.notes == ()


def test_packed_sequences_have_gradients():
    found = pl.map(randomized(Packed(), 0), (torch.rand(2, 5, 6), torch.tensor([5, 3])))
    assert "gradient" in found.overlay.measures and not any("No gradients" in note for note in found.notes)


class Boolean(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) > 0


class Overwrites(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu_()
        h += 1
        return self.b(h)


class Converts(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.from_numpy(self.a(x).numpy()))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Numbers, "does not depend on the input in a way that can be differentiated."),
        (Boolean, "of bool, which has no slope."),
        (Overwrites, "writes over numbers that its gradient needs"),
        (Converts, "The error was: Can't call numpy() on Tensor that requires grad."),
    ],
)
def test_where_there_are_none_a_sentence_says_why_and_the_map_is_there(make, why):
    model = randomized(make(), 0)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    before = {name: (v.clone(), v._version, v.requires_grad) for name, v in model.named_parameters()}
    found = pl.map(model, X)
    note = next(note for note in found.notes if note.startswith("No gradients: "))
    assert why in note and note.endswith(".")
    assert found.totals.flops == 2 * 2 * (8 * 8 + 8 * 3) and "gradient" not in found.overlay.measures
    assert "high" in found.overlay.measures
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    for name, v in model.named_parameters():
        assert torch.equal(v, before[name][0]) and (v._version, v.requires_grad) == before[name][1:]


def test_an_explanation_says_in_words_what_cannot_be_differentiated():
    with pytest.raises(pl.BadModel, match=r"yes and no \(bool\), not scores"):
        pl.methods.occlusion(Boolean(), X)
    with pytest.raises(pl.BadModel, match="writes over numbers that its gradient needs"):
        pl.methods.saliency(Overwrites(), X, 0)


def test_a_network_without_operations_has_nothing_to_say_about_gradients():
    assert pl.map(nn.Identity(), X).notes == ()


class Threads(Base):
    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(self.a, [x, x + 1])
        return self.b(one + two)


def test_what_runs_in_other_threads_is_opaque_and_said():
    found = pl.map(randomized(Threads(), 0), X)
    assert found.totals.flops == 2 * 2 * 8 * 3 and found.totals.more_flops
    assert any("other threads: a." in note for note in found.notes)
    assert found.graph.nodes.op.count("Linear") == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_packed_weights_are_counted_in_a_note():
    model = torch.ao.quantization.quantize_dynamic(Base(), {nn.Linear}, dtype=torch.qint8)
    found = pl.map(model, X)
    numbers = 8 * 8 + 8 + 8 * 3 + 3
    assert f"The parameters do not count {numbers} numbers that 2 quantized layers keep packed: a, b." in found.notes
