"""The `pellucid map` command: what a network is made of, as a tree, a picture or data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pellucid.core.errors import BadOption
from pellucid.core.uncollected import uncollected
from pellucid.doors.files import refuse_absent
from pellucid.surfaces.model_options import (
    ARCHITECTURE_HELP,
    FRAME_HELP,
    PREPARATION_HELP,
    TRUST_FILE_HELP,
    WINDOW_HELP,
    chosen,
    stated,
)
from pellucid.surfaces.place import ending_of

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.shown import Shown

_SHAPE_HELP = "the shape of an input, batch first: 1x3x224x224; several with commas between them, or name=1x8"
# as `show` knows them, whose import takes seconds
ENDINGS = (".html", ".png", ".svg", ".json", ".pdf")
MAP_ENDINGS = (*ENDINGS, ".dot")
_COLOR_HELP = "what boxes are colored by: parameters, flops, memory, time, field, zeros, ...; empty: family"


def map(
    model: Annotated[str, "what pellucid.open knows: a file, efficientnet_lite0, timm:NAME; or any file of weights"],
    *,
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    shape: Annotated[str | None, _SHAPE_HELP] = None,
    input: Annotated[str | None, "a picture to run it on: the boxes then show what happened in them"] = None,
    frame: Annotated[int | None, FRAME_HELP] = None,
    window: Annotated[str | None, WINDOW_HELP] = None,
    compare: Annotated[str | None, "another network: what differs in structure and weights, and with --input within"]
    = None,
    weights: Annotated[bool, "list every weight with its norm, spectrum and sparsity instead"] = False,
    depth: Annotated[int | None, "how many levels of modules are open; empty: about sixty boxes"] = None,
    color: Annotated[str | None, _COLOR_HELP] = None,
    output: Annotated[str | None, "the file to write: .html, .svg, .png, .pdf, .json or .dot"] = None,
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, "print the result as JSON, for scripts"] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:  # fmt: skip
    """Map a network: its modules, operations, shapes, parameters and costs, with repeated blocks folded.

    Prints a tree with totals.  With -o map.svg (or .png, .pdf, .html, .json, .dot) also writes the map.
    """
    from pellucid.surfaces import unrun_map

    _refuse(shape, input, frame, window, compare, depth, color, weights, output)
    stated_more = architecture or preparation or trust_file
    as_written = not (shape or input or compare or weights or stated_more or color == "time")
    if as_written and unrun_map.mapped(model, output, color or "", depth, as_json=json, quiet=quiet):
        return 0
    from pellucid.surfaces.place import writable

    with uncollected():
        from pellucid.surfaces.progress import watched  # and with it torch

    shaped: Any = parsed_shape(shape) if shape else None
    if output:
        writable(Path(output))
    with watched(seed=seed, quiet=quiet or json, keeps=False):
        given = chosen(input, frame, window) if input else shaped
        net = stated(model, architecture, preparation, trust_file)
        found = _found(net, given, _other(compare, architecture), weights, depth, color)
        return _delivered(found, Path(output) if output else None, as_json=json, quiet=quiet)


def _refuse(
    shape: str | None, input: str | None, frame: int | None, window: str | None, compare: str | None,
    depth: int | None, color: str | None, weights: bool, output: str | None,
) -> None:  # fmt: skip
    """Raise for what cannot be meant, for a picture that is not there and a wrong ending, before anything is opened."""
    if shape and input:
        raise BadOption("--shape and --input were both given.", "A picture has its shape: give one of them.")
    if not input and (frame is not None or window):
        raise BadOption("--frame and --window speak of a picture; none was given.", "Add --input FILE.")
    if compare and weights:
        raise BadOption("--compare and --weights were both given.", "--compare also compares weights.")
    if depth is not None and depth < 1:
        raise BadOption(f"--depth {depth}: expected at least 1.")
    if color and (compare or weights):
        raise BadOption("--color belongs to a map alone.", "Leave it out.")
    if input and "://" not in input:
        refuse_absent(Path(input))
    if output:
        ending_of(output, ENDINGS if compare or weights else MAP_ENDINGS)


def _other(compare: str | None, architecture: str | None) -> str | Network | None:
    """The other network; a file of weights is one of the same architecture."""
    from pellucid.architecture.stored import is_file_of_weights

    return stated(compare, architecture) if compare and is_file_of_weights(compare) else compare


def _found(
    model: str | Network, given: Any, compare: str | Network | None, weights: bool, depth: int | None,
    color: str | None,
) -> Shown:  # fmt: skip
    if compare:
        from pellucid.architecture.compared.difference import map_difference

        return map_difference(model, compare, given)
    if weights:
        from pellucid.architecture.weights import weights as weights_

        return weights_(model)
    with uncollected():
        from pellucid.architecture.map import map as map_

    return map_(model, given, time=color == "time").colored(color or "").opened(depth)


def _delivered(found: Shown, output: Path | None, *, as_json: bool, quiet: bool) -> int:
    from pellucid.architecture.architecture import Architecture
    from pellucid.surfaces.deliver import DRAW, deliver, print_text, printed

    if isinstance(found, Architecture):
        from pellucid.surfaces.deliver_map import deliver_map

        return deliver_map(found, output, as_json=as_json, quiet=quiet)
    if output:
        return deliver(found, output, as_json=as_json, quiet=quiet)
    printed(found, as_json=as_json)
    if not as_json:
        print_text(f"\n{DRAW}")
    return 0


def parsed_shape(text: str) -> Any:
    """The shape that a text names, or several, or several by name; raises `BadOption` for anything else.

    >>> parsed_shape("1x3x224x224"), parsed_shape("ids=1x8,mask=1x8")
    ((1, 3, 224, 224), {'ids': (1, 8), 'mask': (1, 8)})
    """
    parts = [part.strip() for part in text.split(",")]
    named = {name.strip(): _numbers(text, rest) for name, equals, rest in (p.partition("=") for p in parts) if equals}
    if named:
        if len(named) != len(parts):
            raise BadOption(f"--shape {text!r}: all inputs are named, or none.", "Write ids=1x8,mask=1x8.")
        return named
    shapes = tuple(_numbers(text, part) for part in parts)
    if len(shapes) > 1 and all(len(shape) == 1 for shape in shapes):
        meant = "x".join(parts)
        raise BadOption(f"--shape {text!r} names {len(shapes)} inputs of one axis.", f"Did you mean {meant}?")
    return shapes[0] if len(shapes) == 1 else shapes


def _numbers(text: str, part: str) -> tuple[int, ...]:
    sizes = part.strip().lower().replace("×", "x").split("x")
    if not all(size.isdecimal() and 0 < len(size) < 10 for size in sizes):
        raise BadOption(f"--shape {text!r}: {part!r} is no shape.", "Write whole numbers, batch first: 1x3x224x224.")
    return tuple(int(size) for size in sizes)
