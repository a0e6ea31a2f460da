"""The architecture for a file that holds weights alone: a module, a name, a configuration beside it, or recognised."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.core.errors import BadModel, Missing
from pellucid.core.lease import random_state_kept, tensors_of
from pellucid.core.preparation import Preparation
from pellucid.doors import efficientnet_lite, vgg, zoo
from pellucid.doors.files import printable
from pellucid.doors.hub import imported, unknown

_CONFIG_LIMIT = 16 << 20
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How to build a network without its weights: `build(classes)`, None for the usual number of classes.

    `preparation` and `labels` only where somebody states them for these weights; `ordered` when tensors may be given by
    their order, because the names in the known file differ from ours.
    """

    name: str
    build: Callable[[int | None], nn.Module]
    preparation: Preparation | None = None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ordered: bool = False


def blueprint(architecture: object) -> Blueprint:
    """What `pl.open(..., architecture=...)` means; raises `BadModel` or `Missing` for what names no architecture."""
    if isinstance(architecture, nn.Module):
        return Blueprint(type(architecture).__name__, partial(_shell, architecture))
    if isinstance(architecture, type):
        raise BadModel(f"{architecture.__name__} is a class, not a model.", "Build one: architecture=Model(...).")
    if not isinstance(architecture, str):
        raise BadModel(f"architecture is a {type(architecture).__name__}.", "Give a module, or torchvision:resnet50.")
    package, colon, name = architecture.partition(":")
    if colon and package in _PACKAGES:
        return _PACKAGES[package](name)
    if architecture in zoo.names():
        return _of_zoo(architecture)
    raise Missing(
        f"{printable(architecture)!r} names no architecture.",
        f"Give a module, torchvision:NAME, timm:NAME, or one of {', '.join(zoo.names())}.",
    )


def bare(plan: Blueprint, classes: int | None = None) -> nn.Module:
    """The network without weights, on the meta device; on the CPU where its code insists on real numbers."""
    try:
        with torch.device("meta"):
            return plan.build(classes)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, OSError):
        return real(plan, classes)


def real(plan: Blueprint, classes: int | None = None) -> nn.Module:
    """The network with weights as its code draws them; the process's random numbers stay as they were."""
    try:
        with random_state_kept(0, lambda _: None):
            return plan.build(classes)
    except Exception as error:  # whatever another package's code raises
        reason = printable(str(error).partition("\n")[0])
        raise BadModel(f"{plan.name} cannot be built: {reason}.", "Give the module itself: architecture=...") from error


def _shell(module: nn.Module, _: int | None = None) -> nn.Module:
    """A copy of the module whose weights are on the meta device; the module itself is left alone."""
    memo: dict[int, Any] = {}
    for t in tensors_of(module).values():
        if isinstance(t, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
            raise BadModel("The architecture has weights without a shape (a lazy module).", "Run it once first.")
        empty = torch.empty_like(t, device="meta")
        memo[id(t)] = nn.Parameter(empty, t.requires_grad) if isinstance(t, nn.Parameter) else empty
    lasting = set(module.state_dict())
    for name, t in module.named_buffers():
        if name not in lasting:
            memo[id(t)] = t.detach().clone()
    with torch.device("cpu"):
        return copy.deepcopy(module, memo)


def _torchvision(name: str) -> Blueprint:
    models = imported("torchvision.models", "torchvision")
    if name.lower() not in models.list_models():
        raise unknown("torchvision", name, models.list_models())

    def build(classes: int | None) -> nn.Module:
        more: dict[str, Any] = {} if classes is None else {"num_classes": classes}
        if name in ("inception_v3", "googlenet"):
            more["init_weights"] = False
        if "weights_backbone" in signature(models.get_model_builder(name)).parameters:
            more["weights_backbone"] = None  # which it would download
        model: nn.Module = models.get_model(name, weights=None, **more)
        return model

    stated: Any = models.get_model_weights(name).DEFAULT.transforms()
    numbers = (getattr(stated, k, None) for k in ("crop_size", "mean", "std"))
    return Blueprint(f"torchvision:{name}", build, notes=_usual("torchvision", *numbers))


def _usual(package: str, size: Any, mean: Any, std: Any) -> tuple[str, ...]:
    """What the package's own weights are prepared with: worth knowing, but these weights may be others."""
    if size is None or mean is None or std is None:
        return ()
    numbers = f"size={size[-1]}, mean={tuple(mean)}, std={tuple(std)}"
    return (f"{package}'s own weights of this network are prepared with {numbers}.",)


def _timm(name: str) -> Blueprint:
    timm = imported("timm", "timm")
    available = timm.list_models()
    if name.partition(".")[0] not in available:
        raise unknown("timm", name, available)

    def build(classes: int | None) -> nn.Module:
        more = {} if classes is None else {"num_classes": classes}
        model: nn.Module = timm.create_model(name, pretrained=False, **more)
        return model

    stated = timm.get_pretrained_cfg(name)
    numbers = (getattr(stated, k, None) for k in ("input_size", "mean", "std"))
    return Blueprint(f"timm:{name}", build, notes=_usual("timm", *numbers))


def _of_zoo(name: str) -> Blueprint:
    if name == "vgg16":
        return Blueprint(name, lambda _: vgg.trunk(), ordered=True)
    variant = int(name[-1])
    return Blueprint(name, lambda _: efficientnet_lite.EfficientNetLite(variant), ordered=True)


_PACKAGES: dict[str, Callable[[str], Blueprint]] = {"torchvision": _torchvision, "timm": _timm}


def beside(path: Path) -> Blueprint | None:
    """What a `config.json` of timm or transformers beside the file says, or None without one.

    Only packages that are installed are used; code that the folder brings along is never run.
    """
    config = path.parent / _CONFIG
    try:
        if not config.is_file() or config.stat().st_size > _CONFIG_LIMIT:
            return None
        said = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(said, dict) and isinstance(said.get("architecture"), str) and "pretrained_cfg" in said:
        return _timm_configured(said)
    if isinstance(said, dict) and isinstance(said.get("model_type"), str) and said.get("architectures"):
        return _transformers(said)
    return None


def _timm_configured(said: dict[str, Any]) -> Blueprint:
    plan, stated = _timm(said["architecture"]), said["pretrained_cfg"]
    classes, labels = said.get("num_classes"), tuple(map(str, said.get("label_names") or ()))
    preparation = None
    try:
        size, crop = int(stated["input_size"][-1]), float(stated.get("crop_pct") or 1.0)
        mean, std = (tuple(map(float, stated[k])) for k in ("mean", "std"))
        how = str(stated.get("interpolation", "bicubic"))
        preparation = Preparation(size, crop, mean, std, how, source=f"{_CONFIG} beside the weights")
    except (KeyError, TypeError, ValueError, IndexError):
        pass
    usual = classes if isinstance(classes, int) else None
    return Blueprint(plan.name, lambda n: plan.build(usual if n is None else n), preparation, labels)


def _transformers(said: dict[str, Any]) -> Blueprint:
    transformers = imported("transformers", "transformers")
    name = str(said["architectures"][0])
    kind = getattr(transformers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise BadModel(
            f"{_CONFIG} names the architecture {printable(name, 60)!r}, which transformers does not have.",
            "Give the module itself: pl.open(path, architecture=...).",
        )
    config = transformers.AutoConfig.for_model(**said)
    names = said.get("id2label")
    labels = tuple(map(str, names.values())) if isinstance(names, dict) else ()
    return Blueprint(name, lambda _: kind(config), None, labels, (f"The architecture is the one in {_CONFIG}.",))
