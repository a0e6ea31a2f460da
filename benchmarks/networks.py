"""The networks that contestants are timed on: the usual shapes, written plainly, with seeded random weights.

Speed and memory do not depend on what a network has learned; agreement between packages is a harder test where the
activations are alive, so weights are drawn to keep their size from layer to layer (He et al. 2015).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

IMAGE = 224


@dataclass(frozen=True, slots=True)
class Subject:
    """A network in eval mode, one input, the class that is explained, and the module whose map a CAM uses."""

    model: nn.Module
    x: Tensor
    target: int
    site: str


class Residual(nn.Module):
    """Two 3x3 convolutions beside a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        same = stride == 1 and inputs == outputs
        narrow = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.short = nn.Identity() if same else nn.Sequential(narrow, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` to `[batch, outputs, h / stride, w / stride]`."""
        return self.relu2(self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))) + self.short(x))


def resnet18() -> nn.Sequential:
    """ResNet-18 (He et al. 2016)."""
    stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    layers: list[tuple[str, nn.Module]] = [("stem", stem)]
    inputs = 64
    for i, outputs in enumerate((64, 128, 256, 512), 1):
        first = Residual(inputs, outputs, 1 if i == 1 else 2)
        layers.append((f"layer{i}", nn.Sequential(first, Residual(outputs, outputs, 1))))
        inputs = outputs
    layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("fc", nn.Linear(512, 1000))]
    return nn.Sequential(OrderedDict(layers))


def vgg16() -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman 2015), 138 million parameters."""
    trunk: list[nn.Module] = []
    inputs = 3
    for widths in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        for outputs in widths:
            trunk += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        trunk.append(nn.MaxPool2d(2))
    hidden = [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    head = nn.Sequential(*hidden, nn.Linear(4096, 1000))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*trunk), flat=nn.Flatten(), classifier=head))


def seeded(model: nn.Module, site: str) -> Subject:
    """A network with random weights that keep activations alive, and a random smooth picture."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    coarse = torch.randn(1, 3, 14, 14)
    x = nn.functional.interpolate(coarse, size=(IMAGE, IMAGE), mode="bicubic", align_corners=False)
    with torch.no_grad():
        top = int(model.eval()(x).argmax())  # of a class that nothing speaks for, Grad-CAM's map is zero
    return Subject(model, x, top, site)


def efficientnet_lite0() -> Subject:
    """EfficientNet-lite0 out of our zoo, with its own weights and a picture from noise."""
    import pellucid as pl

    torch.manual_seed(0)
    return Subject(pl.open("efficientnet_lite0").model.eval(), torch.randn(1, 3, IMAGE, IMAGE), 3, "head")


SUBJECTS = {
    "efficientnet_lite0": efficientnet_lite0,
    "resnet18": lambda: seeded(resnet18(), "layer4"),
    "vgg16": lambda: seeded(vgg16(), "features.29"),
}
