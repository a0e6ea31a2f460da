"""The onnx package's decoder without the package around it, whose import takes longer than decoding most files."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType


def bare() -> None:
    """Let `onnx.onnx_ml_pb2` and `onnx.onnx_cpp2py_export` be had alone: importing onnx itself imports NumPy and more.

    It leaves a package onnx that has nothing but these.  For processes that do nothing but read one file.
    """
    if "onnx" in sys.modules or (found := find_spec("onnx")) is None:
        return
    package = ModuleType("onnx")
    package.__spec__, package.__path__ = found, list(found.submodule_search_locations or ())
    sys.modules["onnx"] = package
