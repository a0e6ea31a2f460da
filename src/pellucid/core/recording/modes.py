"""The two modes through which a recording sees a pass: torch's functions, and the kernels that they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.core.branches import transformed

Seen: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Functions(TorchFunctionMode):
    """Hands each torch function that the model calls to `see`, which runs it.

    Inside of a transform tensors stand for many at once, and have neither memory nor
    a shape that could be written down: there the kernels are seen alone, which run on the tensors themselves.
    """

    def __init__(self, see: Seen) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function."""
        if transformed():
            return func(*args, **(kwargs or {}))
        return self.see(func, args, kwargs or {})


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    """Hands each kernel that runs to `see`, which runs it; an operator that takes functions (`scan`) is one as well."""

    supports_higher_order_operators = True

    def __init__(self, see: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.see = see

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its whole compiler (80 MB, a second) in order to keep it away from here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one kernel."""
        return self.see(func, args, kwargs or {})
