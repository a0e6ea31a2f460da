"""Names for what a model is made of: its modules, weights, arguments and operations."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.structure import named_tensors


def module_paths(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by path, the model itself as "".  Keras keeps its layers out of torch's sight and is asked for them.

    >>> list(module_paths(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh()))))
    ['', '0', '1', '1.0']
    """
    if not hasattr(model, "_flatten_layers"):
        return dict(model.named_modules())
    found: dict[str, nn.Module] = {"": model}
    seen = {id(model)}
    for path, layer in _keras_layers(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            found[path] = layer
    return found


def _keras_layers(layer: Any, path: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers inside a layer, by their names joined with dots (`layer.path` is empty for layers without weights)."""
    for part in layer._flatten_layers(recursive=False, include_self=False):
        here = f"{path}.{part.name}" if path else str(part.name)
        yield here, part
        yield from _keras_layers(part, here)


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once, Keras's by their own path (`dense/kernel`)."""
    found = _keras_weights(model) if _is_keras(model) else {}
    seen = {id(v) for v in found.values()}
    for name, v in (*model.named_parameters(), *model.named_buffers()):
        if id(v) not in seen:
            seen.add(id(v))
            found[name] = v
    return found


def learned(model: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """The parameters by name, each once, with how many numbers each holds.

    Quantized weights are some, though torch has them as buffers; the state of a generator is none, though Keras has it
    as a weight.

    >>> [(name, count) for name, (_, count) in learned(nn.BatchNorm1d(3)).items()]
    [('weight', 3), ('bias', 3)]
    """
    levels = {id(v): each for v, each in getattr(model, "levels", ())}
    buffers = {id(v) for v in model.buffers()}
    return {
        name: (v, v.numel() * levels.get(id(v), 1))
        for name, v in named_weights(model).items()
        if id(v) in levels or not (id(v) in buffers or is_random_state(name))
    }


def is_random_state(name: str) -> bool:
    """Is it a name by which Keras keeps the state of a generator among a layer's weights, which is nothing learned?

    >>> is_random_state("dropout/seed_generator/seed_generator_state"), is_random_state("dense/kernel")
    (True, False)
    """
    return name.rpartition("/")[2] == "seed_generator_state"


def _keras_weights(model: Any) -> dict[str, Tensor]:
    """Keras's weights by path; where several have one, as in models within a model, by where their layer is as well."""
    weights = list(getattr(model, "weights", ()))
    times = Counter(weight.path for weight in weights)
    homes: dict[int, str] = {}
    if max(times.values(), default=0) > 1:
        for path, layer in module_paths(model).items():  # those further inside come later
            homes.update((id(weight), path.replace(".", "/")) for weight in getattr(layer, "weights", ()))
    named = ((f"{homes[id(w)]}/{w.name}" if times[w.path] > 1 else w.path, w.value) for w in weights)
    return dict(named)


def _is_keras(model: nn.Module) -> bool:
    return hasattr(model, "_flatten_layers")


def named_arguments(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors among a call's arguments, by the names that `forward` gives them; nested ones as `x.0.key`.

    >>> list(named_arguments(nn.Linear(2, 1), (torch.zeros(1, 2),), {}))
    ['input']
    """
    names = arguments_of(model).by_place
    given = {names[i] if i < len(names) else str(i): value for i, value in enumerate(args)} | dict(kwargs)
    return dict(named_tensors(given))


@dataclass(frozen=True, slots=True)
class Arguments:
    """What `forward` takes: names of arguments given by place, of those given by name alone, and whether any others.

    `lists`: it says that the first is a list.
    """

    by_place: tuple[str, ...]
    by_name: tuple[str, ...] = ()
    any_place: bool = False
    any_name: bool = False
    lists: bool = False

    @property
    def others(self) -> bool:
        """Does it also take what it does not name?"""
        return self.any_place or self.any_name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names by which its inputs go: those by place, or a name of ours where it names none."""
        return self.by_place or (("x",) if self.others else ())

    def fit_by_place(self, names: tuple[str, ...]) -> bool:
        """Can inputs of these names be given by place?  Not where they skip some of forward's own."""
        return names == self.inputs[: len(names)] or not {*names} <= {*self.inputs, *self.by_name}


def arguments_of(model: nn.Module) -> Arguments:
    """What the model's `forward` takes.

    >>> arguments_of(nn.Linear(2, 1)).by_place
    ('input',)
    """
    if isinstance(model, torch.jit.ScriptModule):
        schema: Any = getattr(model.forward, "schema")  # noqa: B009 (scripted methods carry one, plain ones do not)
        return Arguments(tuple(a.name for a in schema.arguments[1:]))
    takes = list(inspect.signature(model.forward).parameters.values())
    kinds = {p.kind for p in takes}
    places = [p for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    stated = getattr(model, "argument_names", None)  # of Pellucid's own modules, whose `forward` takes any number
    return Arguments(
        tuple(map(str, stated)) if isinstance(stated, tuple) else tuple(p.name for p in places),
        tuple(p.name for p in takes if p.kind is p.KEYWORD_ONLY),
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
        bool(places) and _is_list(places[0].annotation),
    )


def _is_list(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else str(annotation)
    return annotation is list or text.removeprefix("typing.").lower().startswith("list")


def operation_name(function: Any) -> str:
    """What an operation is called: the torch function's own name, operators and properties by their plain name.

    >>> operation_name(torch.Tensor.__add__), operation_name(torch.Tensor.__iadd__), operation_name(torch.relu_)
    ('add', 'add_', 'relu_')
    >>> operation_name(torch.Tensor.T.__get__), operation_name(torch.ops.aten.mean.dim)
    ('T', 'mean')
    """
    name = str(getattr(function, "__name__", type(function).__name__))
    if name in ("__get__", "__set__", "__delete__"):
        owner = str(getattr(getattr(function, "__self__", None), "__name__", "attribute"))
        return owner if name == "__get__" else owner + "_"
    if isinstance(function, torch._ops.OpOverload):
        return str(function.overloadpacket.__name__)
    if not (name.startswith("__") and name.endswith("__")):
        return name
    return _IN_PLACE.get(name[2:-2], name[2:-2])


# x += 1 and x[0] = 1 write into x, as add_ does
_WRITERS = ("add", "sub", "mul", "div", "truediv", "floordiv", "mod",
            "pow", "and", "or", "xor", "lshift", "rshift")  # fmt: skip
_IN_PLACE = {f"i{name}": f"{name}_" for name in _WRITERS} | {"setitem": "setitem_"}
