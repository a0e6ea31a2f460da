"""The door for exported programs (`torch.export`, `.pt2`): the graph as a module whose operations are its parts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from pellucid.core.counts import count
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.pictures.reading import read
from pellucid.doors.torch.exported_text import harmless_copy
from pellucid.doors.weight_files.sealed import unchanged

_LETTERS = "NMKLPQRS"  # for sizes that are free, the batch first


class Operation(nn.Module):
    """One operation of the graph, called as torch's own function of that name, so that rules see what it is."""

    def __init__(self, target: Callable[..., Any]) -> None:
        super().__init__()
        self.target = _function(target)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The operation's result."""
        return self.target(*inputs, **named)

    def extra_repr(self) -> str:
        """The operation's name."""
        known = self.target.func if isinstance(self.target, partial) else self.target
        return str(getattr(known, "__name__", known))


class Program(nn.Module):
    """An exported program: its weights under their own names, and every operation as a part of the module it ran in.

    A convolution of the module `features.0` is at the site `features.0.conv2d`.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        for name, p in graph.named_parameters(remove_duplicate=False):
            _put(self, name, nn.Parameter(p.detach(), p.is_floating_point()))
        for name, b in graph.named_buffers(remove_duplicate=False):
            _put(self, name, b.detach())
        code: Any = graph.graph._codegen
        self.names = tuple(code.pytree_info.orig_args)
        self.specs = (code.pytree_info.in_spec, code.pytree_info.out_spec)
        self.takes: dict[str, tuple[tuple[int, ...], str]] = {}
        self.fixed_axes: dict[str, tuple[int | None, ...]] = {}
        self.steps = [_step(self, node, graph) for node in graph.graph.nodes]

    @property
    def argument_names(self) -> tuple[str, ...]:
        """The names of its inputs, in the order in which they are given."""
        return self.names

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the program put out, in its own structure."""
        order = [*inputs, *(named[name] for name in self.names[len(inputs) :] if name in named)]
        flat = pytree.tree_leaves((tuple(order), {}))
        waiting, values = iter(flat), dict[str, Any]()
        expected = sum(op == "placeholder" for op, *_ in self.steps)
        if len(flat) != expected:
            raise BadInput(
                f"The program takes {count(expected, 'input')}; {count(len(flat), 'was', 'were')} given.",
                f"{', '.join(self.names)}.",
            )
        for op, name, where, args, kwargs in self.steps:
            given, more = _resolved(args, values), _resolved(kwargs, values)
            if op == "placeholder":
                values[name] = next(waiting)
            elif op == "get_attr":
                values[name] = _get(self, where)
            elif op == "output":
                return pytree.tree_unflatten(pytree.tree_leaves(given[0]), self.specs[1])
            else:
                values[name] = cast(nn.Module, _get(self, where))(*given, **more)
        raise BadModel("The program has no output.", "Export it again.")


@dataclass(frozen=True, slots=True)
class Value:
    """The result of an earlier step, among a step's arguments."""

    name: str


def _plain(argument: Any) -> Any:
    """A step's arguments in Python's own lists and dictionaries; the graph's own do not let themselves be copied."""
    if isinstance(argument, fx.Node):
        return Value(argument.name)
    if isinstance(argument, list | tuple):
        kind = tuple if isinstance(argument, tuple) else list
        return kind(_plain(v) for v in argument)
    return {k: _plain(v) for k, v in argument.items()} if isinstance(argument, dict) else argument


def _resolved(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, Value):
        return values[argument.name]
    if isinstance(argument, list | tuple):
        return type(argument)(_resolved(v, values) for v in argument)
    return {k: _resolved(v, values) for k, v in argument.items()} if isinstance(argument, dict) else argument


def _step(program: Program, node: fx.Node, graph: fx.GraphModule) -> tuple[str, str, str, Any, Any]:
    """A node as (what, name, where its part or weight is, arguments); calls become parts of the program."""
    where = str(node.target)
    if node.op == "call_function":
        where = _put(program, f"{_home(node)}{node.name}", Operation(cast(Callable[..., Any], node.target)))
    elif node.op == "get_attr" and not isinstance(_get(program, where), Tensor):
        constant = _get(graph, where)
        if not isinstance(constant, Tensor):
            raise BadModel("The program has branches or loops inside (control flow).", "Open the module it came from.")
        _put(program, where, constant.detach())
    elif node.op not in ("placeholder", "get_attr", "output"):
        raise BadModel(f"The program has a {node.op} inside.", "Export it again with torch.export.export.")
    return node.op, node.name, where, _plain(node.args), _plain(node.kwargs)


def _home(node: fx.Node) -> str:
    """The path of the module in which an operation ran, with a dot at its end; empty for the outermost."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    if path.startswith("_empty_nn_module_stack"):  # torch's mark for what ran in no module
        return ""
    return f"{path}." if path and all(part.isidentifier() or part.isdigit() for part in path.split(".")) else ""


def _put(root: nn.Module, path: str, value: nn.Module | Tensor) -> str:
    """Set a weight or part at a path, making the modules on the way, and say where it is.

    An operation never covers a module, a weight, or a method of modules (`to`) of its name: it gets a longer one.
    """
    *way, last = path.split(".")
    for part in way:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = cast(nn.Module, root._modules[part])
    if isinstance(value, nn.Parameter):
        root.register_parameter(last, value)
    elif isinstance(value, Tensor):
        root.register_buffer(last, value)
    else:
        while hasattr(root, last):
            last += "_"
        root.add_module(last, value)
    return ".".join((*way, last))


def _get(root: nn.Module, path: str) -> Any:
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


# Called by the names that rules know them by.
_ACTIVATIONS = {"silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "gelu", "selu", "relu"}
_POOLINGS = {f"adaptive_avg_pool{n}d" for n in (1, 2, 3)}


def _at(x: Tensor, indices: Any) -> Tensor:
    """What `x[...]` is: one index an axis, None for all of it."""
    return x[tuple(slice(None) if i is None else i for i in indices)]


def _function(target: Callable[..., Any]) -> Callable[..., Any]:
    """Torch's function for an operation of the graph; the operation itself where there is none."""
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten" or "out" in target._overloadname:
        return target
    name = target._schema.name.removeprefix("aten::")
    if name == "index":
        return _at
    if name.rstrip("_") in _ACTIVATIONS | _POOLINGS and len(target._schema.arguments) <= 3:
        known = cast(Callable[..., Any], getattr(nn.functional, name.rstrip("_")))
        return partial(known, inplace=True) if name.endswith("_") else known
    inner: Any = torch._C  # where torch keeps the functions that it gives to Python
    for home in (inner._VariableFunctions, inner._nn, torch.Tensor):
        found = getattr(home, name, None)
        if callable(found) and not name.startswith(("sym_", "_assert")):
            return cast(Callable[..., Any], found)
    return target


def open_file(
    path: Path,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: nn.Module | str | None = None,
) -> Network:
    """The network in a `.pt2`, which torch reads from a copy that holds the checked graph and plain weights only.

    Raises `BadModel` for one that would run code when it is read, and for one that torch cannot read.
    """
    name = printable(path.name)
    with unchanged(path):
        copy = harmless_copy(path)
    logger = logging.getLogger("torch.export")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)  # it logs a traceback for what is told here in a sentence
        program = torch.export.load(copy)
        model = Program(program.module(check_guards=False)).eval()
    except BadModel:
        raise
    except Exception as error:  # torch's reader raises whatever its first failing line raises
        reason = printable(str(error).partition("\n")[0], 120) or type(error).__name__
        raise BadModel(f"{name} cannot be read by torch {torch.__version__}: {reason}.", "Export it again.") from error
    finally:
        logger.setLevel(level)
    model.takes = _takes(program, model)
    shapes = (value.shape for value in _inputs_of(program).values())
    fixed = (tuple(n if isinstance(n, int) else None for n in shape) for shape in shapes)
    model.fixed_axes = dict(zip(model.names, fixed, strict=False))
    return Network(
        model,
        inputs=model.names,
        preparation=preparation,
        name=path.stem,
        reader=read,
        notes=_notes(program, model),
    )


def _takes(program: Any, model: Program) -> dict[str, tuple[tuple[int, ...], str]]:
    """The shape and type of every input it was exported for, one sample where the first axis is free."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for value in _inputs_of(program).values():
        sizes = [1 if i == 0 and not isinstance(n, int) else n for i, n in enumerate(value.shape)]
        if not all(isinstance(n, int) for n in sizes):
            return {}
        name = model.names[len(found)] if len(found) < len(model.names) else ""
        found[name] = (tuple(sizes), str(value.dtype)[6:])
    return found if len(found) == len(model.names) else {}


def _inputs_of(program: Any) -> dict[str, Any]:
    """The inputs that a user gives, as torch recorded them: shapes without numbers."""
    known = program.graph_signature.user_inputs
    nodes = (n for n in program.graph.nodes if n.op == "placeholder" and n.name in known)
    return {n.name: n.meta["val"] for n in nodes if hasattr(n.meta.get("val"), "shape")}


def _shapes(program: Any) -> tuple[list[str], str]:
    """The shapes of the inputs, with a letter for each size that is free, and what the letters may be."""
    letters: dict[str, str] = {}
    free: list[str] = []
    for symbol, sizes in program.range_constraints.items():
        if str(symbol).isidentifier():
            letter = letters[str(symbol)] = _LETTERS[len(letters) % len(_LETTERS)]
            low, high = max(1, int(sizes.lower)), str(sizes.upper)
            most = f"from {low} to {high}" if high.isdigit() else f"at least {low}" if low > 1 else "any number"
            free.append(f"{letter} {most}")
    names = re.compile("|".join(rf"\b{name}\b" for name in letters) or "$^")
    shapes = [
        f"{name} {'x'.join(names.sub(lambda found: letters[found[0]], str(n)) for n in value.shape)}"
        for name, value in _inputs_of(program).items()
    ]
    return shapes, f" ({', '.join(free)})" if free else ""


def _notes(program: Any, model: Program) -> tuple[str, ...]:
    """What the program was exported for: the shapes of its inputs, and whether it still trains."""
    shapes, free = _shapes(program)
    notes = [f"The program was exported for inputs of {', '.join(shapes)}{free}: other sizes may not fit."]
    names = {
        str(node.target): node.args for node in program.graph.nodes if node.op == "call_function" and len(node.args) > 2
    }
    drops = names.get("aten.dropout.default")
    if drops and drops[2] is True:
        notes.append("It was exported in training mode: its dropout draws random numbers.")
    return tuple(notes)
