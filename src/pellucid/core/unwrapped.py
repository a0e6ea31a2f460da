"""The model inside of wrappers: those that compile it, that repeat it on several devices, that spread its weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from pellucid.core.errors import BadModel

_GATHER = (
    "Gather them, in all processes: state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, "
    "cpu_offload=True)) of torch.distributed.checkpoint.state_dict; then, in the first, give them to a plain module: "
    "plain.load_state_dict(state), pl.open(plain)."
)
_PARALLEL = "tensor parallelism (DTensor)"


def unwrapped(model: object) -> tuple[nn.Module, tuple[str, ...]]:
    """The model itself, and a note on each wrapper that it was taken out of.

    What FSDP keeps whole, in a single process, becomes a plain copy.  Raises `BadModel` for what is no module, and for
    weights that are spread over several processes, with the call that gathers them.
    """
    notes: list[str] = []
    while isinstance(model, nn.Module):
        parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel)
        inner = model.module if parallel else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        notes.append(f"The model inside of {type(model).__name__} was explained.")
        model = inner
    if not isinstance(model, nn.Module):
        raise BadModel(
            f"A {type(model).__name__} was given, expected a torch.nn.Module.", "Use pl.open(model_or_file)."
        )
    spread = _spread(model)
    if spread is None:
        return model, tuple(notes)
    how, processes = spread
    if processes > 1 or how == _PARALLEL:
        among = f"{processes} processes" if processes > 1 else "one process"
        raise BadModel(f"The weights of this {_shown(model)} are spread over {among} by {how}.", _GATHER)
    notes.append(f"The model inside of {how} was explained: a copy of it, with its weights of now.")
    return _Plain(model).of(model, ""), tuple(notes)


def _spread(model: nn.Module) -> tuple[str, int] | None:
    """What spreads some of the weights, and over how many processes; None when nothing does."""
    if not distributed.is_available():
        return None
    found: list[tuple[str, int]] = []
    for module in model.modules():
        if hasattr(module, "_fsdp_wrapped_module"):
            group: Any = getattr(module, "process_group", None)
            found.append((type(module).__name__, group.size() if group is not None else 1))
        own: list[Any] = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        for p in own:
            if hasattr(p, "full_tensor"):  # a DTensor
                how = "fully_shard (FSDP2)" if _is_sharded(model) else _PARALLEL
                found.append((how, int(p.device_mesh.size())))
    return max(found, key=lambda pair: pair[1]) if found else None


def _is_sharded(model: nn.Module) -> bool:
    return any(_kind(module) is not type(module) for module in model.modules())


def _kind(module: nn.Module) -> type[nn.Module]:
    """The class that the module had before FSDP2 put one of its own over it."""
    return next(c for c in type(module).__mro__ if "FSDPModule" not in {base.__name__ for base in c.__mro__})


def _shown(model: nn.Module) -> str:
    inner: Any = getattr(model, "_fsdp_wrapped_module", None)
    return _shown(inner) if isinstance(inner, nn.Module) else _kind(model).__name__


class _Plain:
    """Copies shells without what FSDP put into them, and gives them whole weights."""

    def __init__(self, model: nn.Module) -> None:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
        self.weights: dict[str, Any] = whole
        self.kept: dict[object, nn.Parameter] = {}
        self.made: dict[int, nn.Module] = {}

    def of(self, module: nn.Module, path: str) -> nn.Module:
        """The plain copy of a module that is found under this path; one that is met twice stays one."""
        inner: Any = getattr(module, "_fsdp_wrapped_module", None)
        if isinstance(inner, nn.Module):
            return self.of(inner, path)
        if id(module) in self.made:
            return self.made[id(module)]
        kind = _kind(module)
        twin: nn.Module = kind.__new__(kind)
        self.made[id(module)] = twin
        held = {k: _copied(k, v) for k, v in module.__dict__.items() if not k.startswith(_THEIRS)}
        for name, value in held["_modules"].items():
            held["_modules"][name] = value if value is None else self.of(value, f"{path}{name}.")
        own = {k.removeprefix(path): v for k, v in self.weights.items() if k.startswith(path)}
        for name, value in own.items():
            if "." in name or not isinstance(value, Tensor):
                continue
            if name in held["_buffers"]:
                held["_buffers"][name] = value
            else:
                held.pop(name, None)  # a view into the flat parameter
                held["_parameters"][name] = self._parameter(getattr(module, name), value)
        held["_parameters"].pop("_flat_param", None)
        object.__setattr__(twin, "__dict__", held)
        return twin

    def _parameter(self, spread: Any, whole: Tensor) -> nn.Parameter:
        """Weights that share their numbers stay one parameter."""
        own: Tensor = spread.to_local() if hasattr(spread, "to_local") else spread
        where = (own.data_ptr(), tuple(whole.shape))
        return self.kept.setdefault(where, nn.Parameter(whole.detach(), whole.is_floating_point()))


def _copied(name: str, value: Any) -> Any:
    """A table of every module, copied, without the hooks of torch.distributed; anything else as it is."""
    if name not in _TABLES:
        return value
    hooks = "_hooks" in name
    return type(value)((k, v) for k, v in value.items() if not (hooks and _home(v).startswith("torch.distributed.")))


_THEIRS = ("_fsdp_", "__composable_api_")
_TABLES = frozenset(name for name, held in nn.Module().__dict__.items() if isinstance(held, dict))


def _home(hook: object) -> str:
    """The module of a function, or of the class of the object whose method it is."""
    return str(getattr(getattr(hook, "__self__", hook), "__module__", ""))
