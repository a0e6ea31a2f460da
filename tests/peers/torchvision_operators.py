"""Lets torchvision be imported where its compiled operators cannot be loaded.

The torchvision wheel that matches our torch is built for CUDA; beside a CPU torch its extension does not load, and
`import torchvision` then stops at operators that nobody registered.  timm, zennit, grad-cam and Quantus all import
it, none for those operators.  `make peers` puts this file and a one-line `.pth` beside the packages of the peers
environment, so every script there is served; importing this module costs nothing until somebody imports torchvision.

The operators are declared, not implemented: calling one (a detector's `batched_nms`) still raises.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OPERATORS = ("nms", "qnms")
_keep: list[object] = []  # Operators live as long as the library object that declared them.


class BeforeTorchvision:
    """Steps in front of the first import of torchvision, declares what it misses, and leaves."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing; the finders that follow load the real package."""
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and not loads(Path(spec.origin).parent):
            declare()
        return None


def loads(package: Path) -> bool:
    """Does the compiled extension beside torchvision's `__init__.py` load here?"""
    import torch

    for extension in (package / f"_C{suffix}" for suffix in (*EXTENSION_SUFFIXES, ".so")):
        if extension.exists():
            try:
                torch.ops.load_library(extension)
            except OSError:
                return False
            return True
    return False


def declare() -> None:
    """Give torchvision the names it looks for while it is imported."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _keep.append(library)


if not any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path) and "torchvision" not in sys.modules:
    sys.meta_path.insert(0, BeforeTorchvision())  # type: ignore[arg-type]
