"""One forward pass: read at sites, change at sites, stop after the last site that is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from pellucid.core.branches import transformed
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.facing import facing
from pellucid.core.names import module_paths, operation_name
from pellucid.core.network import Network
from pellucid.core.site import Site
from pellucid.core.structure import leaves, rebuilt
from pellucid.core.tensors import Tensors

Change: TypeAlias = Callable[[Tensor], Tensor]
Visit: TypeAlias = Callable[[Site, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network said: its raw output (None when the pass stopped early) and the values at the sites.

    `rows` says which sample of the explained batch each row stems from.
    """

    net: Network
    output: Any
    at: Mapping[Site, Tensor]
    rows: Tensor

    @property
    def main(self) -> Tensor:
        """The part of the output that targets speak of."""
        main = self.net.pick(self.output)
        if main.is_complex():
            raise BadModel(f"{self.net.name} puts out complex numbers.", "Explain a real one made of them: pl.scalar.")
        if main.dtype == torch.bool:
            raise BadModel(
                f"{self.net.name} puts out yes and no (bool), not scores: nothing in them grows or shrinks.",
                "Let it put out the numbers that it compares.",
            )
        if main.ndim == 0 or len(main) != len(self.rows):
            raise BadModel(
                f"{self.net.name} puts out {tuple(main.shape)} for {len(self.rows)} samples: they are not kept apart.",
                "The first axis of its output must be the batch.",
            )
        return main

    def one_by_one(self, whole: bool) -> list[Answer]:
        """The answer to each row by itself; `whole` says that the output is looked at too.

        Values are split all at once: what flows back to them is then put together once, and not row by row.
        """
        n = len(self.rows)
        for site, v in self.at.items():
            if v.ndim == 0 or len(v) != n:
                raise BadModel(
                    f"Site {str(site)!r} holds {tuple(v.shape)} for {n} samples: they are not kept apart.",
                    "Choose a site whose first axis is the batch.",
                )
        if n == 1:
            return [self]
        at = {site: torch.split(v, 1) for site, v in self.at.items()}
        tensors = leaves(self.output, deep=True) if whole else []
        split = {id(v): torch.split(v, 1) for v in tensors if v.ndim and len(v) == n}

        def own(i: int) -> Any:
            """The output for a row, in the same structure; what has no rows is kept as it is."""
            return rebuilt(self.output, lambda v: split[id(v)][i] if id(v) in split else v, deep=True)

        parts = [({site: v[i] for site, v in at.items()}, own(i) if whole else None) for i in range(n)]
        return [replace(self, output=out, at=inner, rows=self.rows[[i]]) for i, (inner, out) in enumerate(parts)]


class _Enough(Exception):
    """Everything that was asked for has been seen."""


@dataclass(frozen=True, slots=True)
class _Visitor:
    """What is done at the sites of one pass, and what was found there."""

    wanted: frozenset[Site]
    changes: Mapping[Site, Change]
    leaves: bool
    whole: bool
    seen: dict[Site, Tensor] = field(default_factory=dict)
    visited: set[Site] = field(default_factory=set)

    def visit(self, site: Site, value: Tensor) -> Tensor:
        """Change the value, or keep it, and say what the pass goes on with."""
        self.visited.add(site)
        if site in self.changes:
            value = self.changes[site](value)
        if site not in self.wanted:
            return value
        if self.leaves and not value.requires_grad and value.is_floating_point():
            value = value.detach().requires_grad_()
        self.seen[site] = value
        if not self.whole and len(self.seen) == len(self.wanted):
            raise _Enough
        return value.clone()  # an in-place operation downstream must not rewrite what was seen


def ask(
    net: Network,
    model: nn.Module,
    x: Tensors,
    *,
    sites: Sequence[Site] = (),
    changes: Mapping[Site, Change] | None = None,
    rows: Tensor | None = None,
    leaves: bool = False,
    whole: bool = True,
) -> Answer:
    """Run a leased module once.

    With `leaves`, a site that nothing differentiable precedes becomes a leaf that gradients can be taken at: the
    graph before it is never built.  Without `whole`, the pass ends as soon as all sites were seen.
    """
    visitor = _Visitor(frozenset(sites), changes or {}, leaves, whole)
    first = next(iter(x.values()))
    index = torch.arange(len(first), device=first.device) if rows is None else rows
    with ExitStack() as stack:
        stack.enter_context(_taps(model, {*visitor.wanted, *visitor.changes}, visitor.visit))
        try:
            output = net.call(model, {k: v.clone() for k, v in x.items()})  # models may write into their input
        except _Enough:
            output = None
    missing = sorted({*visitor.wanted, *visitor.changes} - visitor.visited) if output is not None else []
    if missing:
        raise BadModel(
            f"Site {str(missing[0])!r} did not run in this pass.",
            "net.sites lists the modules; pl.record shows what ran.",
        )
    return Answer(net, output, visitor.seen, index)


@contextmanager
def _taps(model: nn.Module, sites: set[Site], visit: Visit) -> Iterator[None]:
    """Call `visit` at each of the sites for the length of the block."""
    if not sites:
        yield
        return
    modules = module_paths(model)
    unknown = sorted(str(s) for s in sites if s.path not in modules)
    if unknown:
        close = [p for p in modules if p and (p in unknown[0] or unknown[0] in p)][:5] or [p for p in modules if p][:5]
        raise BadInput(f"There is no module at {unknown[0]!r}.", f"Modules there are: {', '.join(close)} ...")
    with ExitStack() as stack:
        for path in {s.path for s in sites}:
            here = {s for s in sites if s.path == path}
            _tap_module(modules[path], path, here, facing(model, path, visit), stack)
        if any(s.operation for s in sites):
            stack.enter_context(Operations(follow(modules, stack), partial(_see, _by_operation(sites), visit)))
        yield


def _tap_module(module: nn.Module, path: str, sites: set[Site], visit: Visit, stack: ExitStack) -> None:
    calls_in, calls_out = count(), count()

    def before(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        site = Site(path, next(calls_in), "input")
        if site not in sites:
            return None
        if args:
            return (visit(site, args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, {**kwargs, name: visit(site, kwargs[name])}

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        site = Site(path, next(calls_out))
        return _map_first(output, site, visit) if site in sites else None

    if any(s.at == "input" for s in sites):
        stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    if any(s.at == "output" for s in sites):
        stack.callback(module.register_forward_hook(after).remove)


def _map_first(output: Any, site: Site, visit: Visit) -> Any:
    """Visit a module's tensor; of a tuple (LSTM, attention), its first."""
    if isinstance(output, Tensor):
        return visit(site, output)
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        changed = [visit(site, output[0]), *output[1:]]
        return type(output)(*changed) if hasattr(output, "_fields") else type(output)(changed)
    raise BadModel(f"Site {str(site)!r} puts out {type(output).__name__}, not a tensor.", "Choose a module inside it.")


def _by_operation(sites: set[Site]) -> dict[tuple[str, int, str, int], Site]:
    return {(s.path, s.call, *s.operation): s for s in sites if s.operation}


def _see(wanted: Mapping[tuple[str, int, str, int], Site], visit: Visit, here: Site, _args: Any, out: Any) -> Any:
    name, number = here.operation or ("", 0)
    site = wanted.get((here.path, here.call, name, number))
    return out if site is None else _map_first(out, site, visit)


def follow(modules: Mapping[str, nn.Module], stack: ExitStack) -> list[Site]:
    """The module runs that a pass is inside of, innermost last, kept up to date until the stack is closed."""
    inside = [Site("")]

    def leave(*_: object) -> None:
        inside.pop()

    for path, module in modules.items():
        if not path or isinstance(module, torch.jit.ScriptModule):  # torch takes no hooks on scripted modules
            continue
        calls = count()
        enter = partial(_enter, inside, path, calls)
        stack.callback(module.register_forward_pre_hook(enter).remove)
        stack.callback(module.register_forward_hook(leave, always_call=True).remove)
    return inside


def _enter(inside: list[Site], path: str, calls: Iterator[int], *_: object) -> None:
    inside.append(Site(path, next(calls)))


class Operations(TorchFunctionMode):
    """Shows every operation of a pass to `see(site, args, result)`, which says what the pass goes on with.

    Operations are counted by name within each run of their module: `relu.1` is the second relu there.
    """

    def __init__(self, inside: list[Site], see: Callable[[Site, tuple[Any, ...], Any], Any]) -> None:
        super().__init__()
        self.inside, self.see = inside, see
        self.done: dict[tuple[Site, str], int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and show it."""
        out = func(*args, **(kwargs or {}))
        # a kernel that another mode runs, seen a second time; a function inside of torch.vmap, which is not recorded
        if isinstance(func, OpOverload) or transformed():
            return out
        here, name = self.inside[-1], operation_name(func)
        number = self.done.get((here, name), 0)
        self.done[here, name] = number + 1
        return self.see(Site(here.path, here.call, f"{name}.{number}"), (*args, *(kwargs or {}).values()), out)
