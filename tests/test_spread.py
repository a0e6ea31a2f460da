"""Models in wrappers and over processes: what is whole is taken out, what is not is refused with the call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.optim.swa_utils import AveragedModel

import pellucid as pl
from pellucid.core.errors import BadModel
from pellucid.core.network import Network
from tests.corpus.files import small
from tests.networks import randomized

X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of processes with nobody else in it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        nn.parallel.DistributedDataParallel,
        AveragedModel,
        lambda m: nn.parallel.DistributedDataParallel(nn.DataParallel(m)),
        partial(torch.compile, backend="eager"),
    ],
    ids=["DataParallel", "DistributedDataParallel", "AveragedModel", "both", "compile"],
)
def test_wrappers_are_looked_through(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = small()
    net = pl.open(wrap(model))
    assert type(net.model) is nn.Sequential and "model inside of" in net.notes[0]
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(net.model(x), model(x))


class Tied(nn.Module):
    """Normalizes, keeps a buffer that no file holds, and uses one matrix twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head, self.again = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.again.weight = self.head.weight
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(self.conv(x)).mean((2, 3))
        out: torch.Tensor = self.again(torch.relu(self.head(pooled))) * self.scale
        return out


def sharded(model: nn.Module) -> nn.Module:
    fully_shard(model.conv)
    return fully_shard(model)


def nested(model: nn.Module, **more: Any) -> nn.Module:
    cpu = torch.device("cpu")
    model.conv = FullyShardedDataParallel(model.conv, device_id=cpu, **more)
    return FullyShardedDataParallel(model, device_id=cpu, **more)


WHOLE: dict[str, Callable[[nn.Module], nn.Module]] = {
    "FSDP": nested,
    "FSDP with the original parameters": partial(nested, use_orig_params=True),
    "fully_shard": sharded,
}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", WHOLE)
def test_what_one_process_holds_whole_is_taken_out(name: str, recwarn: pytest.WarningsRecorder) -> None:
    model = randomized(Tied(), 1, 0.5).eval()
    model.norm.running_mean.fill_(0.3)
    wanted, plain = model(X), pl.methods.saliency(Network(model), X, 1).values
    wrapped = WHOLE[name](model)
    net = pl.open(wrapped)
    assert type(net.model) is Tied and type(net.model.conv) is nn.Conv2d and "with its weights of now" in net.notes[0]
    assert net.model.again.weight is net.model.head.weight
    assert [str(site) for site in net.sites] == ["conv", "norm", "head", "again"]
    assert torch.equal(net.model(X), wanted)
    assert torch.equal(pl.methods.saliency(net, X, 1).values, plain)
    assert torch.allclose(wrapped(X), wanted)  # the wrapper still works


@pytest.mark.usefixtures("alone")
def test_tensor_parallel_models_are_refused_whoever_they_are_spread_over() -> None:
    model = parallelize_module(
        nn.Sequential(nn.Linear(4, 2)), dist.init_device_mesh("cpu", (1,)), {"0": ColwiseParallel()}
    )
    with pytest.raises(
        BadModel, match=r"Sequential are spread over one process by tensor parallelism.*get_model_state"
    ):
        pl.open(model)


# ---- two processes


def together(rank: int, task: Callable[[int], object], folder: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    try:
        torch.save(task(rank), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def in_two_processes(task: Callable[[int], object], folder: Path) -> list[Any]:
    torch.multiprocessing.spawn(together, (task, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def said(model: nn.Module) -> str:
    try:
        pl.open(model)
    except BadModel as why:
        return str(why)
    return "it opened"


def several(rank: int) -> dict[str, Any]:
    """What happens to each wrapper, on one rank alone and on both."""
    model = randomized(Tied(), 1, 0.5).eval()
    found: dict[str, Any] = {"plain": pl.methods.saliency(Network(model), X, 1).values}
    repeated = nn.parallel.DistributedDataParallel(randomized(Tied(), 1, 0.5).eval())
    if rank == 0:  # the others do not wait for it
        found["repeated, on one"] = pl.methods.saliency(pl.open(repeated), X, 1).values
    found["repeated, on both"] = pl.methods.saliency(pl.open(repeated), X, 1).values
    found["fsdp"] = said(nested(randomized(Tied(), 1, 0.5).eval()))
    spread = sharded(randomized(Tied(), 1, 0.5).eval())
    found["fully_shard"] = said(spread)
    state = get_model_state_dict(spread, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:  # what the sentence says to do
        gathered = Tied().eval()
        gathered.load_state_dict(state)
        found["gathered"] = pl.methods.saliency(pl.open(gathered), X, 1).values
    return found


@pytest.mark.slow
def test_with_two_processes(tmp_path: Path) -> None:
    for rank, found in enumerate(in_two_processes(several, tmp_path)):
        plain = found.pop("plain")
        for what in ("fsdp", "fully_shard"):
            sentence = found.pop(what)
            assert "The weights of this Tied are spread over 2 processes by" in sentence
            assert "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True" in sentence
        assert len(found) == (1 if rank else 3)
        assert all(torch.allclose(values, plain, atol=1e-6) for values in found.values())


# ---- distributed checkpoints on disk


@pytest.fixture
def checkpoint(tmp_path: Path, alone: None) -> Path:
    import torch.distributed.checkpoint as dcp

    folder = tmp_path / "step_100"
    dcp.save({"model": nn.Linear(3, 2).state_dict()}, checkpoint_id=folder)
    return folder


@pytest.mark.parametrize("part", ["", ".metadata", "__0_0.distcp"])
def test_a_distributed_checkpoint_is_named_and_never_unpickled(
    part: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("unpickled"))
    monkeypatch.setattr("pickle.Unpickler", lambda *_: pytest.fail("unpickled"))
    for look in (pl.open, pl.weights, pl.map):
        with pytest.raises(BadModel, match="distributed checkpoint") as why:
            look(checkpoint / part)
        assert "python -m torch.distributed.checkpoint.format_utils dcp_to_torch" in why.value.hint


def test_the_command_that_is_named_converts_it(checkpoint: Path) -> None:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    whole = checkpoint.parent / "model.pt"
    dcp_to_torch_save(checkpoint, whole)  # what the command calls
    assert type(pl.open(whole, architecture=nn.Linear(3, 2)).model) is nn.Linear
