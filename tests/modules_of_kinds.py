"""The modules of tests/zoo_of_kinds.py, each written in a way of its own."""

import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


def conv(i, o, kernel=3, stride=1, groups=1, act=nn.ReLU):
    layers = [nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, act(inplace=True)) if act else nn.Sequential(*layers)


class Residual(nn.Module):
    """One ReLU module used twice, `+=` and in-place everywhere, as torchvision writes it."""

    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = conv(i, o, 1, stride, act=None) if stride > 1 or i != o else None

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = conv(3, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Residual(width, width), Residual(width, width))
        self.layer2 = nn.Sequential(Residual(width, 2 * width, 2), Residual(2 * width, 2 * width))
        self.fc = nn.Linear(2 * width, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(self.pool(self.stem(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Inverted(nn.Module):
    """MobileNetV3 / EfficientNet block: expansion, depthwise, squeeze and excitation, dropout at rest."""

    def __init__(self, width):
        super().__init__()
        self.expand, self.depth = (
            conv(width, 3 * width, 1, act=nn.Hardswish),
            conv(3 * width, 3 * width, groups=3 * width, act=nn.ReLU6),
        )
        self.down, self.up = nn.Conv2d(3 * width, width, 1), nn.Conv2d(width, 3 * width, 1)
        self.project, self.drop = conv(3 * width, width, 1, act=None), nn.Dropout(0.2)

    def forward(self, x):
        h = self.depth(self.expand(x))
        h = h * torch.sigmoid(self.up(F.silu(self.down(h.mean((2, 3), keepdim=True)))))
        return x + self.drop(self.project(h))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2, self.bottom, self.pool = conv(1, 8), conv(8, 16), conv(16, 32), nn.MaxPool2d(2)
        self.u2, self.c2, self.u1, self.c1 = (
            nn.ConvTranspose2d(32, 16, 2, 2),
            conv(32, 16),
            nn.Upsample(scale_factor=2),
            conv(24, 8),
        )
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(self.pool(a))
        y = self.c2(torch.cat([self.u2(self.bottom(self.pool(b))), b], 1))
        return {"mask": self.head(self.c1(torch.cat([self.u1(y), a], 1)))}


@dataclass
class Detections:
    boxes: torch.Tensor
    scores: list
    note: str = "plain text among tensors"


class Detector(nn.Module):
    """Keeps boxes above a threshold, one after another, in a loop whose length depends on the picture."""

    def __init__(self):
        super().__init__()
        self.body, self.head = conv(3, 8, 3, 4), nn.Conv2d(8, 5, 1)

    def forward(self, images):
        boxes, scores = [], []
        for image in images:
            out = self.head(self.body(image[None]))[0].flatten(1)
            score, order = out[0].sort(descending=True)
            keep = []
            while len(keep) < 4 and len(keep) < len(order) and score[len(keep)] > 0:
                keep.append(order[len(keep)])
            chosen = torch.stack(keep) if keep else order[:0]
            boxes.append(out[1:, chosen].T.exp())
            scores.append(score[: len(keep)])
        return Detections(torch.cat(boxes), scores)


class Attention(nn.Module):
    """A pre-norm block as timm writes it: one product for q, k and v."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.n1, self.n2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), nn.Linear(16, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 17, 16))
        self.blocks = nn.ModuleList(Attention(16, 2) for _ in range(3))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Torch(nn.Module):
    """PyTorch's own encoder layers, sequence first, and a multi-head attention with its weights."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=False)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.attention(x, x, x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Embedding(50, 8), nn.Linear(24, 5)
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, ids):
        out, (h, _) = self.lstm(self.embed(ids))
        return self.fc(out[:, -1]), h


class Branching(nn.Module):
    """A cell used over and over; where the network goes depends on what it has seen."""

    def __init__(self):
        super().__init__()
        self.cell, self.a, self.b = nn.GRUCell(6, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.a(h) if h.mean().item() > 0 else self.b(h)


class Writing(nn.Module):
    """Views, writes through views, several outputs, numbers and tensors from nowhere."""

    def __init__(self):
        super().__init__()
        self.fc, self.loose = nn.Linear(8, 8), [torch.linspace(-1, 1, 8)]

    def forward(self, x, scale=2.0):
        h = self.fc(x)
        left, right = h.chunk(2, 1)
        left.add_(right)
        right[:, 0] = 0
        h *= scale
        out = torch.zeros_like(h)
        for i in range(3):
            out[:, i] = h[:, i] - self.loose[0][i]
        top, at = h.topk(2, dim=1)
        best = h.max(1)
        y = 3 - torch.from_numpy(torch.ones(2).numpy()) * top
        return {"out": out.clamp_(min=0), "best": best, "y": (y, at), "same": h.contiguous()[..., at[0, 0] :]}


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        y = self.fc(x)
        if y.sum() > 1e9:
            y = y + 1
        return torch.relu(y) * 2


class Scripted(nn.Module):
    """A scripted part inside a plain model."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.13 calls TorchScript deprecated; people still have it
            self.part = torch.jit.script(Half())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.part(x + 1))


class Numpy(nn.Module):
    """A part that leaves torch."""

    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2)
