"""The map: open anything, run it once on anything, and see the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import torch
from torch import nn

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.given import Call, Given, call_of, guessed, said_of
from pellucid.architecture.overlay import of_structure
from pellucid.architecture.overlays.activity import activity
from pellucid.architecture.overlays.fields import fields
from pellucid.architecture.overlays.gradients import gradients
from pellucid.architecture.overlays.timing import timed
from pellucid.architecture.packed import packed
from pellucid.architecture.sources.from_modules import from_modules
from pellucid.architecture.sources.from_tape import from_tape, unused
from pellucid.architecture.stored import FOLDER, is_there, is_unknown, of_listing
from pellucid.architecture.totals import totals
from pellucid.architecture.unrun import of_onnx, worth_running
from pellucid.core.as_trained import doubts
from pellucid.core.double import double, why_not_doubled
from pellucid.core.errors import BadInput, PellucidError, said
from pellucid.core.misfit import misfit
from pellucid.core.names import learned, module_paths, named_arguments
from pellucid.core.network import Network
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape
from pellucid.core.structure import private
from pellucid.doors.files import printable
from pellucid.doors.hub import PACKAGES
from pellucid.doors.kinds import kind_of, meant
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.picture import Picture
from pellucid.doors.pictures.reading import reading, refuse_alone
from pellucid.doors.torch.architectures import bare
from pellucid.doors.torch.architectures import blueprint as named_blueprint
from pellucid.doors.torch.checkpoint import part_in_words
from pellucid.doors.transformers.files import cached, config_of, quantized_by
from pellucid.doors.transformers.hugging_face import blueprint
from pellucid.doors.weight_files.listing import is_listed, listed

Mappable: TypeAlias = Network | nn.Module | str | Path | Callable[..., Any]
T = TypeVar("T")
LARGE = 300_000_000
HOW = "Give an input or its shape, pl.map(net, (1, 3, 224, 224)) or --shape 1x3x224x224, to see operations and costs."

NO_NUMBERS = "The weights hold no numbers (meta device): shapes alone were followed."


def map(
    what: Mappable, x: Given | str | Path | Picture | None = None, *, fake: bool | None = None, time: bool = False
) -> Architecture:
    """The map of a network: modules, operations, shapes, parameters, FLOPs, memory, and what repeats.

    `x` is what `forward` takes (a tensor, a list, an object; several in a tuple or by name, settings among them), a
    picture's file, the shape of a tensor such as `(1, 3, 224, 224)`, or left out where the network says itself what it
    takes.  With an input the boxes also show what happened in them: ranges,
    zeros, dead and saturated units, gradients, pictures of channels; with `time` how long each operation took.

    With `fake` nothing is computed and no weight is needed, so that a network on the meta device, larger than memory,
    is mapped in seconds; by default that is done with large networks where no numbers were given.  A network that is
    given no input, and does not say what it takes, is mapped as a tree of modules, without operations; a note says so.

    Raises `BadInput` for an input that does not fit, and what `pl.open` raises.

    >>> import pellucid as pl
    >>> found = pl.map(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 16, 16))
    >>> found.totals.parameters, found.totals.flops, found.graph.nodes.op
    (224, 84672, ('input', 'conv2d', 'relu', 'output'))
    """
    if isinstance(what, nn.Module) and any(p.is_meta for p in what.parameters()):
        return _without_weights(what, x)
    if x is None and not time and isinstance(what, str | Path):
        if fake is not False and (found := _of_name(str(what))) is not None:
            return found
        if is_there(what):
            return _of_file(Path(what), fake)
    return _of_pass(what, x, fake, time=time)


def _of_name(name: str) -> Architecture | None:
    """Of a network of another package, whose weights a map does not need; None for any other name."""
    if name.startswith("hf:"):
        return _of_folder(cached(name.removeprefix("hf:")), name)
    if name.partition(":")[0] not in PACKAGES:
        return None
    found = _without_weights(bare(named_blueprint(name)), None, "Built without weights: shapes alone were followed.")
    return replace(found, graph=replace(found.graph, name=name.partition(":")[2], source=name))


def _of_file(path: Path, fake: bool | None) -> Architecture:
    """As the file is stored where that tells its operations, else of a pass; of the names in it where none is known."""
    path = meant(path)
    kind = kind_of(path).name
    if kind.startswith("an ONNX model"):
        return _of_onnx(path)
    if kind == FOLDER and fake is not False:
        return _of_folder(path)
    if not is_listed(path):
        return _of_pass(path, None, fake, time=False)
    file = listed(path)
    if is_unknown(file):
        return of_listing(file)
    try:
        return _of_pass(path, None, fake, time=False)
    except PellucidError as why:  # no architecture is known: what the file holds is worth seeing all the same
        usual = "no architecture" in why.what or "GGUF" in file.kind
        return of_listing(file, part_in_words(path).strip() if usual else f"It was not opened: {why.what} {why.hint}")


def _of_folder(path: Path, name: str = "") -> Architecture:
    """By what config.json says, without a weight; where that cannot be built, of the names in its files of weights."""
    name = name or (path if path.is_dir() else path.resolve().parent).name
    try:
        model, inputs = blueprint(path)
    except PellucidError as why:
        try:
            return of_listing(listed(path), f"It was not built: {why.what} {why.hint}")
        except PellucidError:
            raise why from None
    note = f"Built from {path.name if path.is_file() else 'config.json'} without weights: shapes alone were followed."
    if how := quantized_by(config_of(path, quantized=True)[1]):
        note += f" Its weights are quantized by {how}; the map is of the network before that."
    call = Call((), inputs, real=False, said=said_of(inputs))
    try:
        tape = _recorded(model, call, fake=True, again=False)
    except Exception as error:
        why_not = f"It could not be run on {call.said}. {said(error)} {HOW}"
        return _tree(model, name, name, (note, why_not))
    return of_tape(tape, name, name, (note, f"Run on {call.said}."))


def _of_onnx(path: Path) -> Architecture:
    """As it is written; where it does not tell shapes enough for costs, and is no giant, of a pass on zeros."""
    found = of_onnx(path)
    if not worth_running(found):
        return found
    try:
        run = _of_pass(path, None, None, time=False)
    except PellucidError:  # it cannot be run, which is no reason not to draw it
        return found
    return found if run.totals.flops is None else run


def _of_pass(what: Mappable, x: Given | str | Path | Picture | None, fake: bool | None, *, time: bool) -> Architecture:
    """The map of a pass, or of the modules alone where there is nothing to run it on."""
    net = what if isinstance(what, Network) else open_network(what)
    notes = (*net.notes, *packed(net.model))
    if isinstance(x, str | Path | Picture):
        refuse_alone(net, x)
        read = reading(net, x)
        x, notes = read.x, (*notes, *read.notes)
    with net.lease() as model, torch.no_grad():
        call = guessed(model, net) if x is None else call_of(x, model)
        if call is None:
            return _tree(model, net.name, net.source, (*notes, f"Nothing was run. {HOW}"))
        notes = (*notes, f"Run on {call.said}.") if call.said else notes
        notes = (*notes, *doubts(net, named_arguments(model, call.args, call.kwargs))) if call.real else notes
        shapes_only = fake if fake is not None else not (call.real or time) and _is_large(model)
        try:
            tape = _recorded(model, call, fake=shapes_only, again=fake is None)
        except Exception as error:
            if x is not None and (why := _not_followed(model, call, x, error)):
                return _tree(model, net.name, net.source, (*notes, why))
            if x is not None:
                _refuse(error, call)
            why = f"It could not be run on {call.said}. {said(error)} {HOW}"
            return _tree(model, net.name, net.source, (*net.notes, why))
        found = of_tape(tape, net.name, net.source, notes)
        return found if tape.fake else _with_numbers(found, net, model, tape, call, time=time)


def of_tape(tape: Tape, name: str = "", source: str = "", notes: tuple[str, ...] = ()) -> Architecture:
    """The map of a pass that was recorded before, by `pl.record`."""
    graph = from_tape(tape, name or next((m.kind for m in tape.modules if not m.path), ""), source)
    sizes = {v.name: v.bytes for v in tape.values if v.origin == "parameter"}
    seen, why = _tried("receptive fields", lambda: fields(tape, graph))
    overlay = of_structure(graph).with_measures(seen or {})
    notes = (*notes, why) if why else notes
    if tape.data_dependent:
        notes = (*notes, "What runs depends on the numbers of the input: another one may take other ways.")
    found = totals(graph, unused(tape), sum(sizes.values()))
    if tape.unseen:
        where = ", ".join(sorted(tape.unseen))
        notes = (*notes, f"Nothing was seen inside of what ran in other threads: {where}. Its FLOPs are not counted.")
        found = replace(found, more_flops=found.flops is not None)
    return Architecture(graph, found, overlay, notes)


def _without_weights(model: nn.Module, x: Any, note: str = NO_NUMBERS) -> Architecture:
    twin = model if why_not_doubled(model) else double(model)
    call = guessed(twin, None) if x is None else call_of(x, twin)
    if call is None:
        return _tree(twin, type(model).__name__, "", (note, HOW))
    try:
        tape = _recorded(twin, call, fake=True, again=False)
    except Exception as error:
        if x is not None:
            _refuse(error, call)
        why = f"It could not be run on {call.said}. {said(error)}"
        return _tree(twin, type(model).__name__, "", (note, why))
    notes = (note, f"Run on {call.said}.") if call.said else (note,)
    return of_tape(tape, type(model).__name__, "", notes)


def _not_followed(model: nn.Module, call: Call, x: Given, error: Exception) -> str:
    """A note where the network itself runs on numbers that were given, so that the error was the recording's; else ''.

    Raises `BadInput` for a mapping whose names are no arguments of the network's.
    """
    if not call.real or isinstance(error, PellucidError):
        return ""
    args, kwargs = private((call.args, dict(call.kwargs)))
    try:
        model(*args, **kwargs)
    except Exception:
        if not (isinstance(x, Mapping) and call.args):
            return ""
        names = printable(", ".join([repr(name) for name in x]), 120)
        what = f"The network has no argument of these names: {names}. As its one argument they do not fit either."
        raise BadInput(what, said(error)) from error
    return f"It runs, but was not followed: its modules alone are shown. {said(error)}"


def _refuse(error: Exception, call: Call) -> NoReturn:
    """Raise an error of a pass: as it is where numbers were given, else as a sentence about the shape."""
    if call.real or isinstance(error, PellucidError):
        raise error
    raise BadInput(
        f"It could not be run on {call.what}. {said(error)}",
        "Give a shape that the network takes, batch first, or an input: pl.map(net, x).",
    ) from error


def _tree(model: nn.Module, name: str, source: str, notes: tuple[str, ...]) -> Architecture:
    graph = from_modules(model, name, source)
    size = sum(p.numel() * p.element_size() for p, _ in learned(model).values())
    return Architecture(graph, totals(graph, 0, size), of_structure(graph), notes)


def _is_large(model: nn.Module) -> bool:
    """Would a pass take longer than getting ready to follow shapes alone (some seconds)?"""
    return sum(p.numel() for p in model.parameters()) > LARGE


def _recorded(model: nn.Module, call: Call, *, fake: bool, again: bool) -> Tape:
    """The pass, by shapes alone where that is asked for; `again`: with numbers where shapes do not suffice."""
    paths = module_paths(model)
    if fake:
        try:
            return record_module(model, call.args, call.kwargs, fake=True, paths=paths)
        except Exception:
            if not again:
                raise
    try:
        return record_module(model, call.args, call.kwargs, paths=paths, keep_values=False)
    except (RuntimeError, ValueError, IndexError) as error:
        given = named_arguments(model, call.args, call.kwargs)
        why = None if isinstance(error, PellucidError) else misfit(error, model, given)
        if why is None:
            raise
        raise why from error


def _with_numbers(
    found: Architecture, net: Network, model: nn.Module, tape: Tape, call: Call, *, time: bool
) -> Architecture:
    overlay, notes = found.overlay, found.notes
    if call.real:
        lived, why = _tried("activations", lambda: activity(tape, model, call, found.graph))
        if lived is not None:
            overlay = replace(overlay.with_measures(lived[0]), pictures=lived[1])
        more, why_not = gradients(net, tape, call, found.graph)
        overlay = overlay.with_measures(more)
        notes = (*notes, *filter(None, (why, why_not)))
    if time:
        spent, why = _tried("times", lambda: timed(tape, model, call, found.graph))
        overlay = overlay.with_measures(spent or {})
        notes = (*notes, why) if why else notes
    return replace(found, overlay=overlay, notes=notes)


def _tried(what: str, look: Callable[[], T]) -> tuple[T | None, str]:
    """What a look at a recorded pass finds, or a note on why it cannot be had: the map itself is known by then."""
    try:
        return look(), ""
    except Exception as error:
        return None, f"No {what}: {said(error)}"
