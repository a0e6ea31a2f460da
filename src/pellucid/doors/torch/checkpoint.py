"""The door for weights: state dicts, checkpoints and safetensors, given to an architecture that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from pellucid.core.counts import count
from pellucid.core.errors import BadModel
from pellucid.core.lease import tensors_of
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.kinds import index_of, lie
from pellucid.doors.pictures.reading import read
from pellucid.doors.torch.architectures import Blueprint, bare, beside, blueprint, real
from pellucid.doors.torch.matched import Fit, fit, misfit, shape_text
from pellucid.doors.torch.pickled import unpickled
from pellucid.doors.torch.recognised import recognised
from pellucid.doors.torch.state_dicts import holds_objects
from pellucid.doors.weight_files.entries import Listing
from pellucid.doors.weight_files.listing import listed
from pellucid.doors.weight_files.sealed import unchanged

_ASK = "The file does not say how pictures are prepared for it: pl.open(..., preparation=pl.Preparation(...))."


def open_file(
    path: Path,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: nn.Module | str | None = None,
) -> Network:
    """The network of an architecture with the weights in a file; names and shapes are compared before any is read.

    Raises `BadModel` with what is missing, left over or of another shape, and, where no architecture is known, with
    what the file holds.
    """
    if trusted and architecture is None and holds_objects(path):
        model, notes = unpickled(path)
        asked = () if preparation else (_ASK,)
        return Network(model, preparation=preparation, reader=read, notes=(*notes, *asked))
    with unchanged(path):
        found = listed(path)
        plan = _plan(path, found, architecture)
        model, notes = loaded(plan, found)
    asked = () if preparation or plan.preparation else (_ASK,)
    labels = plan.labels if len(plan.labels) == _classes(model) else ()
    return Network(
        model,
        labels=labels,
        preparation=preparation or plan.preparation,
        name=plan.name.rpartition(":")[2],
        reader=read,
        notes=(*found.notes, *plan.notes, *notes, *asked),
    )


def _plan(path: Path, found: Listing, architecture: nn.Module | str | None) -> Blueprint:
    if architecture is not None:
        return blueprint(architecture)
    plan = beside(path)
    if plan is not None:
        return plan
    plan, names = recognised(found)
    if plan is not None:
        said = (
            f"The architecture was recognised as {plan.name}: every name and shape fits. What has no weights (its "
            "activations, its strides) is taken as it is there."
        )
        return Blueprint(plan.name, plan.build, plan.preparation, plan.labels, (*plan.notes, said))
    raise no_architecture(path, found, names)


def part_in_words(path: Path) -> str:
    """A sentence, with a space after it, on a file that is one of several parts; '' for any other."""
    index = index_of(path)
    return f"It is one of several parts: open their index, {printable(index.name)}. " if index is not None else ""


def no_architecture(path: Path, held: Listing, names: tuple[str, ...] = ()) -> BadModel:
    """The error that says what a file of weights holds, and how to name the architecture."""
    first, last = held.entries[0], held.entries[-1]
    ends = " and ".join(f"{printable(e.name, 60)} {shape_text(e.shape)}" for e in (first, last)[: len(held.entries)])
    tip = f" It looks like {' or '.join(names[:3])}." if names else ""
    objects = " If you trust who made it, trusted=True (--trust-file) lets it build itself." if held.whole else ""
    return BadModel(
        f"{printable(path.name)} is {held.kind}{lie(path, held.kind)} with {count(len(held.entries), 'tensor')} "
        f"({count(held.count, 'number')}; first and last: {ends}) and no architecture.{tip}",
        f"{part_in_words(path)}Say it: pl.open(path, architecture=MODULE), or a name such as "
        f"architecture='torchvision:resnet50' (--architecture).{objects}",
    )


def loaded(plan: Blueprint, weights: Listing) -> tuple[nn.Module, tuple[str, ...]]:
    """A model with these weights in eval mode, and notes; raises `BadModel` when they do not fit."""
    model, classes, notes = bare(plan), None, []
    found = _fit(model, weights)
    if found.classes:
        resized = bare(plan, found.classes)
        again = _fit(resized, weights)
        if again.whole:
            model, classes, found = resized, found.classes, again
            notes.append(f"The network was built for the {classes} classes of the file.")
    if not found.whole and plan.ordered:
        found = _in_order(model, weights) or found
    if not found.whole:
        raise misfit(weights.path.name, plan.name, _shapes(model), found, part_in_words(weights.path))
    if found.prefix:
        notes.append(f"The prefix {printable(found.prefix, 40)!r} of the file's names was taken off.")
    if found.aside:
        first = printable(found.aside[0], 60)
        aside = count(
            len(found.aside), "tensor that belongs to other parts was", "tensors that belong to other parts were"
        )
        notes.append(f"{aside} left aside (first: {first}).")
    needed = set(found.names.values())
    chosen = Listing(weights.path, weights.kind, tuple(e for e in weights.entries if e.name in needed))
    return _filled(plan, model, classes, found.names, chosen.tensors()), tuple(notes)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in model.state_dict().items() if isinstance(t, Tensor)}


def _fit(model: nn.Module, weights: Listing) -> Fit:
    return fit(_shapes(model), {e.name: e.shape for e in weights.entries}, _tied(model))


def _tied(model: nn.Module) -> dict[str, str]:
    """For every further name of a weight that has several: the other names, in turn."""
    names: dict[int, list[str]] = {}
    for name, t in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)):
        names.setdefault(id(t), []).append(name)
    return {name: group[i - 1] for group in names.values() if len(group) > 1 for i, name in enumerate(group)}


def _in_order(model: nn.Module, weights: Listing) -> Fit | None:
    """A known file whose names differ from ours: tensors by their order, when every shape fits."""
    wanted = {k: s for k, s in _shapes(model).items() if not k.endswith("num_batches_tracked")}
    entries = [e for e in weights.entries if not e.name.endswith("num_batches_tracked")]
    if list(wanted.values()) != [e.shape for e in entries]:
        return None
    return Fit(dict(zip(wanted, (e.name for e in entries), strict=True)), (), (), ())


def _filled(
    plan: Blueprint, model: nn.Module, classes: int | None, names: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> nn.Module:
    """The model with its weights, those that are one tensor in the file or in the network staying one."""
    floating = {id(p) for p in model.parameters()}
    kept: dict[int, nn.Parameter] = {}
    own = dict(model.named_parameters(remove_duplicate=False))
    group = {name: id(p) for name, p in own.items()}
    state: dict[str, Tensor] = {}
    for name, there in names.items():
        t = tensors[there]
        if name in own and group[name] in floating:
            state[name] = kept.setdefault(group[name], nn.Parameter(t, t.is_floating_point()))
        else:
            state[name] = t
    model.load_state_dict(state, strict=False, assign=True)
    if any(t.is_meta for t in tensors_of(model).values()):  # buffers that no file holds: the code computes them
        model = real(plan, classes)
        model.load_state_dict(state, strict=False, assign=True)
    return model.eval()


def _classes(model: nn.Module) -> int:
    """How many rows the last matrix of the network has."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    return matrices[-1].shape[0] if matrices else 0
