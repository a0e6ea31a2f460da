"""What every command that takes a model may be told about it: its architecture, its preparation, and trust.

Imports no torch before a model is opened.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import BadOption

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.preparation import Preparation
    from pellucid.doors.pictures.picture import Picture

MODEL_HELP = (
    "a network that pellucid.open knows (efficientnet_lite0, torchvision:resnet50, timm:NAME), or a model's file"
)
ARCHITECTURE_HELP = "for a file of weights: the network that they belong to, such as torchvision:resnet50"
PREPARATION_HELP = "how pictures are prepared: imagenet, or size=224,mean=0.485/0.456/0.406,std=0.229/0.224/0.225"
LABELS_HELP = "names of the classes: a text file with one a line, for a model that brings none"
FRAME_HELP = "which of an animation's frames or a TIFF's pages, from 0"
WINDOW_HELP = "the gray values that mean black and white: low,high"
TRUST_FILE_HELP = "the model's file once more: lets it run its own code, after showing what that is"
_IMAGENET = "size=224,crop=0.875,mean=0.485/0.456/0.406,std=0.229/0.224/0.225"
_KNOWN = ("size", "crop", "mean", "std", "interpolation", "bgr")


def stated(
    model: str,
    architecture: str | None = None,
    preparation: str | None = None,
    trust_file: str | None = None,
    labels: str | None = None,
) -> str | Network:
    """The model as it was named, or opened with what was stated about it; raises `BadOption` for what cannot be meant.

    For a trusted file, its SHA-256 and every name that it would import are printed first.
    """
    if not (architecture or preparation or trust_file or labels):
        return model
    from pellucid.doors.open import open as open_network

    if trust_file is not None:
        _show(model, trust_file)
    return open_network(
        model,
        architecture=architecture,
        preparation=_preparation(preparation) if preparation else None,
        trusted=trust_file is not None,
        labels=Path(labels) if labels else (),
    )


def chosen(image: str, frame: int | None = None, window: str | None = None) -> str | Picture:
    """The picture as it was named, or read as was said: one frame, gray values in a window.

    Raises `BadOption` for what cannot be meant, and what the reading of pictures raises.
    """
    if frame is None and window is None:
        return image
    from pellucid.doors.pictures.image import decode

    try:
        low, high = (float(n) for n in window.split(",")) if window is not None else (0.0, 1.0)
    except ValueError:
        raise BadOption(f"--window {window!r}: expected two numbers, low,high.", "Try --window 0,4095.") from None
    return decode(image, frame=frame, window=(low, high) if window is not None else None)


def _show(model: str, trust_file: str) -> None:
    from pellucid.doors.torch.pickled import contents
    from pellucid.render.plain import visible

    if not Path(model).is_file() or not Path(trust_file).is_file() or not Path(model).samefile(trust_file):
        raise BadOption(f"--trust-file {trust_file!r} is not the model's file, {model!r}.", "Name the same file twice.")
    found = contents(Path(trust_file))
    lines = [f"Trusted: {trust_file}", f"SHA-256: {found.digest}"]
    lines += ["It would import:" if found.names else "It would import nothing.", *(f"  {name}" for name in found.names)]
    sys.stderr.write("".join(visible(line) + "\n" for line in lines))
    sys.stderr.flush()


def _preparation(text: str) -> Preparation:
    """`imagenet`, or parts such as size=224 with commas between them, numbers of one part with slashes."""
    from pellucid.core.preparation import Preparation

    said: dict[str, str] = {}
    for part in (_IMAGENET if text.strip().lower() == "imagenet" else text).split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in _KNOWN:
            raise BadOption(f"--preparation {part.strip()!r}: expected name=value.", f"Names: {', '.join(_KNOWN)}.")
        said[name] = value
    try:
        mean, std = (tuple(map(float, said.get(k, d).split("/"))) for k, d in (("mean", "0/0/0"), ("std", "1/1/1")))
        size, crop = int(said["size"]), float(said.get("crop", "1"))
    except (KeyError, ValueError):
        raise BadOption(f"--preparation {text!r} has no size, or no numbers.", f"Try {_IMAGENET}.") from None
    turned = said.get("bgr", "").lower() in ("1", "yes", "true")
    return Preparation(size, crop, mean, std, said.get("interpolation", "bicubic"), turned)
