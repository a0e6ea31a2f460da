"""Networks of torchvision and timm by name: `torchvision:resnet50`, `timm:mobilenetv3_small_100`.

Both packages download their own weights, state how pictures are prepared, and name their classes; all three are
taken from there.  Neither is a dependency of Pellucid.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from torch import __version__ as torch_version
from torch import nn

from pellucid.core.errors import BadModel, Missing
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.pictures.reading import read
from pellucid.doors.zoo import imagenet_classes

# what the transports of the two packages raise when there is no network, by name: none of them is imported here
_FAR = {
    *("URLError", "HTTPError", "gaierror", "ConnectionError", "ConnectError", "ConnectTimeout", "ReadTimeout"),
    *("MaxRetryError", "ProxyError", "SSLError", "TimeoutError", "LocalEntryNotFoundError", "OfflineModeIsEnabled"),
}


def open(name: str, *, preparation: Preparation | None = None) -> Network:
    """A pretrained network of another package: `torchvision:NAME` or `timm:NAME`.

    Its weights are downloaded once, by that package.  Raises `Missing` with the exact command when the package is not
    installed, when it has no such network, and when the weights cannot be reached.
    """
    package, _, model = name.partition(":")
    if package not in PACKAGES:
        raise Missing(f"{printable(package)!r} is no package of networks.", f"Known: {', '.join(PACKAGES)}.")
    return PACKAGES[package](model, preparation)


def _torchvision(name: str, preparation: Preparation | None) -> Network:
    models = imported("torchvision.models", "torchvision")
    if name.lower() not in models.list_models():
        raise unknown("torchvision", name, models.list_models())
    weights = models.get_model_weights(name).DEFAULT
    model = _downloaded(lambda: models.get_model(name, weights=weights), f"torchvision:{name}")
    stated = weights.transforms()
    notes = [f"Weights: {weights}."]
    if preparation is None and hasattr(stated, "crop_size"):
        preparation = _stated(
            stated.crop_size[0],
            stated.resize_size[0],
            stated.mean,
            stated.std,
            stated.interpolation.value,
            str(weights),
        )
    if preparation is None:
        notes.append("torchvision states no classification preparation for this network; give it tensors.")
    labels = tuple(weights.meta.get("categories", ()))
    return _network(model, f"torchvision:{name}", preparation, labels, notes)


def _timm(name: str, preparation: Preparation | None) -> Network:
    timm = imported("timm", "timm")
    data = imported("timm.data", "timm")
    available = timm.list_models(pretrained=True)
    if name not in available and name not in {a.partition(".")[0] for a in available}:
        raise unknown("timm", name, available)
    model = _downloaded(lambda: timm.create_model(name, pretrained=True), f"timm:{name}")
    config = data.resolve_model_data_config(model)
    notes = []
    _, height, width = config["input_size"]
    if preparation is None and height == width:
        resized = int(height / config["crop_pct"])  # timm rounds down
        source = f"timm's configuration of {name}"
        preparation = _stated(height, resized, config["mean"], config["std"], config["interpolation"], source)
    if preparation is None:
        notes.append(f"timm prepares {height} x {width} pictures for this network; give it tensors of that size.")
    if config.get("crop_mode", "center") != "center":
        notes.append(f"timm crops in the mode {config['crop_mode']}; the central square is read instead.")
    return _network(model, f"timm:{name}", preparation, _timm_labels(data, model), notes)


def _timm_labels(data: ModuleType, model: nn.Module) -> tuple[str, ...]:
    subset = data.infer_imagenet_subset(model)
    if subset is None:
        return ()
    return imagenet_classes() if subset == "imagenet-1k" else tuple(data.ImageNetInfo(subset).label_descriptions())


def _stated(size: int, resized: int, mean: Any, std: Any, interpolation: str, source: str) -> Preparation | None:
    """The package's preparation in our words; None where the picture is resized to less than what is cut out."""
    if resized < size:
        return None
    words = ("bicubic", "bilinear", "lanczos", "nearest", "box")
    interpolation = interpolation if interpolation in words else "bicubic"  # timm may say "random", for training
    return Preparation(int(size), size / resized, tuple(mean), tuple(std), interpolation, source=source)


def _network(
    model: nn.Module, name: str, preparation: Preparation | None, labels: tuple[str, ...], notes: list[str]
) -> Network:
    return Network(
        model.eval(), labels=labels, preparation=preparation, name=name, source=name, reader=read, notes=notes
    )


def imported(module: str, package: str) -> ModuleType:
    """A module of an optional package; raises `Missing` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = (error.name or package).partition(".")[0]
        raise Missing(f"{package} networks need the package {absent}.", f"pip install {package}") from None
    except Exception as error:  # built for another torch, it raises whatever its first compiled line raises
        reason = printable(str(error).partition("\n")[0])
        raise Missing(
            f"{package} is installed but cannot be imported beside torch {torch_version}: {reason}.",
            "Install the torchvision made for this torch: pip install --force-reinstall --no-deps torchvision",
        ) from error


def _downloaded(build: Callable[[], nn.Module], name: str) -> nn.Module:
    try:
        return build()
    except Exception as error:  # each package and each of its transports has its own classes
        kinds = {base.__name__ for cause in _causes(error) for base in type(cause).__mro__}
        if kinds & _FAR:
            raise Missing(
                f"The weights of {name} are not on this machine and could not be downloaded.",
                "Connect to the network once, or use a network of the zoo, such as efficientnet_lite0.",
            ) from error
        reason = printable(str(error).partition("\n")[0])
        raise BadModel(f"{name} cannot be built: {type(error).__name__}: {reason}.", "Try another network.") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def unknown(package: str, name: str, available: list[str]) -> Missing:
    """The error for a network that a package does not have, with the closest names that it has."""
    near = get_close_matches(name, available, 3)
    hint = f"Did you mean {' or '.join(f'{package}:{n}' for n in near)}?" if near else f"See {package}.list_models()."
    return Missing(f"{package} has no pretrained network {printable(name)!r}.", hint)


PACKAGES: dict[str, Callable[[str, Preparation | None], Network]] = {"torchvision": _torchvision, "timm": _timm}
