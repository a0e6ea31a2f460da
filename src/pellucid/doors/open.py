"""One way in: a torch module, the name of a network, a file or a function, as a `Network`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from pellucid.core.ending import head_of
from pellucid.core.errors import BadInput, BadModel, Missing
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors import hub, scikit, zoo
from pellucid.doors.files import file_bytes, printable
from pellucid.doors.function import Function, arguments_of, name_of
from pellucid.doors.keras import model as keras_model
from pellucid.doors.kinds import disagreement, door_of, kind_of, meant
from pellucid.doors.model_file import refusal
from pellucid.doors.pictures.prepare import check
from pellucid.doors.pictures.reading import read, refuse_other_sizes
from pellucid.doors.transformers import hugging_face
from pellucid.doors.transformers.two_towers import between

Labels = Sequence[str] | str | Path


def open(
    what: nn.Module | str | Path | Network | Callable[..., Any],
    *,
    preparation: Preparation | None = None,
    labels: Labels = (),
    inputs: Sequence[str] | None = None,
    output: str | int | None = None,
    name: str = "",
    architecture: nn.Module | str | None = None,
    trusted: bool = False,
) -> Network:
    """Open a network: a torch module, a name (`efficientnet_lite0`, `torchvision:resnet50`, `timm:...`), a file, or a
    function.

    A function takes tensors `[batch, ...]` and gives one row of scores a sample, as a tensor or an array; what can be
    asked of it is what needs no look inside.

    `preparation` says how pictures become its input, `labels` names its classes (names, or a text file with one a
    line; for CLIP the texts between which it decides), `inputs` the arguments of `forward`, `output` which part of a
    structured output is meant.  The module itself is never changed; wrappers for several devices or for compilation are
    looked through, which `notes` says.

    A file is told by its contents.  One that holds weights alone needs its `architecture`: a module, or a name such as
    `torchvision:resnet50`.  Nothing in a file is ever run, unless `trusted` says that it may.

    Two labels of a network that puts out one score are (negative, positive).  Raises `BadModel` for what is no model or
    cannot be opened safely, `Missing` for what is not there, and `BadInput` for pictures of another size than
    the file states, and where there are fewer or more labels than scores, as far as that can be known without an input.

    >>> from torch import nn
    >>> open(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), labels=("no", "yes")).label(1)
    'yes (1)'
    """
    if preparation is not None:
        check(preparation)
    known = _opened(what, preparation, architecture, trusted)
    if isinstance(known, Function):
        inputs, name = inputs or arguments_of(known.function), name or name_of(known.function)
    names = _names(labels)
    if isinstance(known, nn.Module):
        net = Network(
            known, inputs=inputs, labels=names, preparation=preparation, name=name, output=output, reader=read
        )
        return _counted(net, names, 0)
    own = len(known.names)  # a model that brings names has one for each score
    if names:
        known, before = between(known, names), known
        own = own if known is before else len(names)
    if names or inputs or name or output is not None or preparation not in (None, known.preparation):
        known = _stated_anew(known, preparation, names, inputs, output, name)
    if preparation is not None:
        refuse_other_sizes(known)
    return _counted(known, names, own)


def _counted(net: Network, names: Sequence[str], own: int) -> Network:
    """The network; raises `BadInput` when it is known to have another number of scores than there are names."""
    if not names:
        return net
    head = net.head if own else head_of(net)
    scores = own if head is None else head.scores
    if scores and len(names) != scores and (len(names), scores) != (2, 1):
        raise BadInput(
            f"{len(names)} label{'s were' if len(names) > 1 else ' was'} given, and {net.name} puts out "
            f"{scores} score{'s' if scores > 1 else ''}: which name is whose would be a guess.",
            f"Give {scores} names, in index order." if scores > 1 else "Give one name, or two: no and yes.",
        )
    return net


def _stated_anew(
    net: Network,
    preparation: Preparation | None,
    labels: tuple[str, ...],
    inputs: Sequence[str] | None,
    output: str | int | None,
    name: str,
) -> Network:
    """The same model, with what was stated laid over what it said itself."""

    def as_before(_: Network, given: Any) -> Any:
        return net.read(given)

    return Network(
        net.model,
        inputs=inputs or net.inputs,
        labels=labels or net.names,
        preparation=preparation or net.preparation,
        name=name or net.name,
        source=net.source,
        output=net.output if output is None else output,
        reader=read if preparation else as_before,
        words=net.words,
        continues=net.continues,
        notes=net.notes,
        head=net.head if output is None else None,
    )


def _opened(
    what: Any, preparation: Preparation | None, architecture: nn.Module | str | None, trusted: bool
) -> Network | nn.Module:
    if hasattr(what, "_flatten_layers") and not isinstance(what, type):
        return keras_model.open_model(what, preparation=preparation)
    if isinstance(what, Network | nn.Module):
        return what
    if scikit.is_estimator(what) and not isinstance(what, type):
        return scikit.open_estimator(what)
    if isinstance(what, str | Path):
        return _named(what, preparation, architecture, trusted)
    if isinstance(what, type) and issubclass(what, nn.Module):
        raise BadModel(f"{what.__name__} is a class, not a model.", f"Build one: pl.open({what.__name__}(...)).")
    if isinstance(what, dict):
        raise BadModel("A dictionary of weights holds no architecture.", _LOAD)
    if callable(what):
        return Function(what)
    raise BadModel(
        f"A network cannot be opened from {type(what).__name__}.",
        "Give a torch module, a function, or a name such as efficientnet_lite0.",
    )


_LOAD = "Build the model in Python, load them with model.load_state_dict(weights), then pl.open(model)."


def _named(
    what: str | Path, preparation: Preparation | None, architecture: nn.Module | str | None, trusted: bool
) -> Network:
    text = str(what)
    if not text.strip():
        raise BadInput("The name of the network is empty.", "Give a file, or a name such as efficientnet_lite0.")
    if text in zoo.names():
        return zoo.open(text, preparation=preparation)
    if text.partition(":")[0] in hub.PACKAGES:
        return hub.open(text, preparation=preparation)
    if text.startswith("hf:"):
        return hugging_face.open_name(text, preparation=preparation)
    if "://" in text:
        raise BadModel(f"{printable(text)} is an address; Pellucid fetches nothing.", "Download it first.")
    path = Path(what)
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if exists:
        return _from_file(path, preparation, architecture, trusted)
    if isinstance(what, Path) or path.suffix or len(path.parts) != 1:
        near = get_close_matches(text, zoo.names(), 1)
        hint = f"Did you mean {near[0]}?" if near else "Check the name."
        raise Missing(f"There is no file {printable(text)}.", hint)
    near = get_close_matches(text.lower().replace("-", "_"), zoo.names(), 2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(zoo.names())}."
    also = " Others open as torchvision:NAME or timm:NAME."
    raise Missing(f"There is no network named {printable(text)!r}.", hint + also)


def _from_file(
    path: Path, preparation: Preparation | None, architecture: nn.Module | str | None, trusted: bool
) -> Network:
    """Through the door for what the file is; refused where there is none."""
    path = meant(path)
    kind = kind_of(path)
    door = door_of(kind.name)
    if door is None:
        raise refusal(path, kind)
    net = door.open_file(path, preparation=preparation, trusted=trusted, architecture=architecture)
    net.notes = (*disagreement(path, kind.name), *net.notes)
    return net


def _names(labels: Labels) -> tuple[str, ...]:
    """Class names from a sequence, or from a text file with one a line."""
    if not isinstance(labels, str | Path):
        return tuple(str(label) for label in labels)
    path = Path(labels)
    try:
        text = file_bytes(path, 16 << 20).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{printable(path.name)} is not a UTF-8 text file.", "Write one class name a line.") from None
    names = tuple(line.strip() for line in text.splitlines())
    while names and not names[-1]:
        names = names[:-1]
    if not names or not all(names):
        where = names.index("") + 1 if names else 1
        raise BadInput(
            f"Line {where} of {printable(path.name)} is empty.", "Write one class name a line, in index order."
        )
    return names
