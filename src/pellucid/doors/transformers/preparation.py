"""How a Hugging Face image processor prepares pictures, in Pellucid's words; None rather than a guess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.core.preparation import Preparation
from pellucid.doors.transformers.files import optional

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
_KNOWN = frozenset(
    """do_resize do_rescale do_normalize do_center_crop do_convert_rgb do_reduce_labels
    do_flip_channel_order""".split()  # noqa: SIM905 (read as words)
)
# processors that do more than their settings say
_PECULIAR = ("efficientnet", "vilt", "layoutlm", "pix2struct", "videomae", "vivit", "tvlt", "perceiver", "imagegpt")
# settings that a file may leave out, because the processor has values of its own for them
_USUAL = (
    "do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_flip_channel_order", "do_pad", "size", "crop_size",
    "resample", "image_mean", "image_std", "rescale_factor", "crop_pct", "default_to_square",
)  # fmt: skip


def stated_in(folder: Path, package: Any) -> tuple[Preparation | None, str]:
    """The preparation that the folder's image processor states, or None and a sentence that says why not.

    What the file leaves out is taken from the processor's class in `package`, which is transformers.
    """
    for file in ("preprocessor_config.json", "processor_config.json"):
        settings = optional(folder / file)
        settings = settings.get("image_processor", settings)
        if isinstance(settings, dict) and any(
            k in settings for k in ("image_mean", "do_normalize", "size", "do_resize")
        ):
            usual = getattr(package, f"{_kind(settings).removesuffix('Fast')}Pil", None)
            known = {k: getattr(usual, k, None) for k in _USUAL}
            return preparation_of({k: v for k, v in known.items() if v is not None} | settings, file, usual is not None)
    return None, "The folder says nothing about how pictures are prepared: give preparation=pl.Preparation(...)."


def _kind(settings: Mapping[str, Any]) -> str:
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "an image processor")
    return kind.replace("FeatureExtractor", "ImageProcessor")


def preparation_of(settings: Mapping[str, Any], file: str, whole: bool = False) -> tuple[Preparation | None, str]:
    """The preparation that an image processor's settings describe.

    `whole`: nothing was left out that is not off, so that a size of one number needs `default_to_square` to be read.

    >>> clip = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 256}, "crop_size": 224,
    ...         "do_center_crop": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    >>> found = preparation_of(clip, "")[0]
    >>> found.size, found.crop, found.mean, found.interpolation
    (224, 0.875, (0.5, 0.5, 0.5), 'bicubic')
    """
    kind = _kind(settings)
    strange = [k for k, v in settings.items() if k.startswith("do_") and v and k not in _KNOWN]
    if strange or any(p in kind.lower() for p in _PECULIAR):
        why = f"its {strange[0]} is on" if strange else "it does more than its settings say"
        return None, f"{kind} cannot be put as a preparation here ({why}): give tensors that it prepared."
    geometry = _geometry(settings, whole)
    scaled = _scaled(settings, whole)
    resample = _FILTERS.get(settings.get("resample", 2))
    if geometry is None or scaled is None or resample is None:
        part = "size" if geometry is None else "mean and deviation" if scaled is None else "filter"
        return None, f"The {part} in {file} cannot be put as a preparation here: give tensors that {kind} prepared."
    size, resized, squeezed = geometry
    bgr = bool(settings.get("do_flip_channel_order"))
    source = f"{kind} in {file}"
    crop = size / resized
    return Preparation(size, crop, *scaled, resample, bgr=bgr, squeezed=squeezed, source=source), ""


def _geometry(settings: Mapping[str, Any], whole: bool) -> tuple[int, int, bool] | None:
    """The square's side, the size that the picture is resized to, and whether all of it is squeezed into that."""
    if not settings.get("do_resize", not whole):
        return None
    size: Any = settings.get("size")
    if isinstance(size, int) and (whole or "default_to_square" in settings):
        size = {"height": size, "width": size} if settings.get("default_to_square", True) else {"shortest_edge": size}
    if not isinstance(size, dict) or "longest_edge" in size:
        return None
    share: Any = settings.get("crop_pct")
    if (short_side := size.get("shortest_edge")) is not None:
        if not isinstance(short_side, int):
            return None
        if share and short_side < 384:  # ConvNeXt's way
            return short_side, int(short_side / share), False
        if share:
            return short_side, short_side, True
        side = _side(settings.get("crop_size")) if settings.get("do_center_crop") else None
        return (side, short_side, False) if side is not None and side <= short_side else None
    resized = _side(size)
    if resized is None:
        return None
    side = _side(settings.get("crop_size")) if settings.get("do_center_crop") else resized
    return (side, resized, True) if side is not None and side <= resized else None


def _side(size: Any) -> int | None:
    """The side of a square that is stated as a number or as height and width."""
    if isinstance(size, dict):
        size = size.get("height") if size.get("height") == size.get("width") else None
    return size if isinstance(size, int) and size > 0 else None


def _scaled(settings: Mapping[str, Any], whole: bool) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation for values in 0..1, from those for what the processor rescales 0..255 to."""
    factor = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", not whole) else 1.0
    if settings.get("rescale_offset") or settings.get("offset") or factor <= 0:
        return None
    mean: Any = (0.0,) * 3
    std: Any = (1.0,) * 3
    if settings.get("do_normalize", not whole):
        mean, std = settings.get("image_mean"), settings.get("image_std")
    if not isinstance(mean, list | tuple) or not isinstance(std, list | tuple) or len(mean) != len(std):
        return None
    if len(mean) not in (1, 3) or not all(isinstance(v, int | float) for v in (*mean, *std)) or not all(std):
        return None
    top = round(255 * factor, 6)
    return tuple(float(v) / top for v in mean), tuple(float(v) / top for v in std)
