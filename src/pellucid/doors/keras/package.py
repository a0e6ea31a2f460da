"""Keras itself: imported when a Keras model is met, and only ever on its torch backend."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import nullcontext
from typing import Any

from pellucid.core.alone import is_alone
from pellucid.core.errors import BadModel, Missing
from pellucid.core.uncollected import uncollected
from pellucid.doors.files import printable
from pellucid.doors.keras.sparing import sparing

_BEFORE = "Set KERAS_BACKEND=torch before Python starts (or os.environ['KERAS_BACKEND'] = 'torch' before keras)."


def keras() -> Any:
    """The keras package on torch.

    Where nobody has chosen a backend yet, torch is chosen, for the whole process: Keras has one for all its models.
    Raises `Missing` when it is not installed, and `BadModel` when it runs on another backend.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        chosen = os.environ["KERAS_BACKEND"]
        if chosen != "torch":
            raise BadModel(f"KERAS_BACKEND is {printable(chosen)}; Pellucid needs Keras to run on torch.", _BEFORE)
    try:
        with uncollected(), sparing() if is_alone() else nullcontext():
            package: Any = importlib.import_module("keras")
        importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        absent = (error.name or "keras").partition(".")[0]
        raise Missing(f"Keras models need the package {absent}.", "pip install 'keras>=3' h5py") from None
    if not hasattr(package, "version") or str(package.version()).partition(".")[0] == "2":
        raise Missing("The Keras that is installed is Keras 2.", "pip install 'keras>=3'")
    backend = package.config.backend()
    if backend != "torch":
        raise BadModel(f"Keras runs on {printable(str(backend))} here; Pellucid needs it to run on torch.", _BEFORE)
    return package
