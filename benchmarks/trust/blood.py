"""A real one: windows of blood smears, a network that finds white cells in them, and boxes that people drew."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.trust import rig
from benchmarks.trust.rig import SHARED, Planted, Scenes, chosen, generator, prepared, right


@cache
def blood(train: bool) -> Scenes:
    """Windows of 360 pixels, 64 wide here: label 1 holds one white cell whole (its box is the truth), 0 holds none."""
    names = (SHARED / "bccd" / "ImageSets" / "Main" / ("trainval.txt" if train else "test.txt")).read_text().split()
    names = names if train else names[:60]
    g, x, truth, labels = generator("blood", train), list[Tensor](), list[Tensor](), list[int]()
    for name in names:
        whole = rig.picture(SHARED / "bccd" / "JPEGImages" / f"{name}.jpg", 480)
        boxes = [b for kind, b in cells(name) if kind == "WBC"]
        for _ in range(24 if train else 12):
            top, left = int(torch.randint(121, (), generator=g)), int(torch.randint(281, (), generator=g))
            inside = [b for b in boxes if left <= b[0] and b[2] <= left + 360 and top <= b[1] and b[3] <= top + 360]
            touched = [b for b in boxes if b[0] < left + 360 and b[2] > left and b[1] < top + 360 and b[3] > top]
            if len(touched) > 1 or len(inside) != len(touched):
                continue
            mask = torch.zeros(360, 360, dtype=torch.bool)
            for a, b, c, d in inside:
                mask[b - top : d - top, a - left : c - left] = True
            window = whole[:, top : top + 360, left : left + 360]
            x.append(functional.interpolate(window[None], size=64, mode="area")[0])
            truth.append(functional.interpolate(mask[None, None].float(), size=64, mode="area")[0, 0] > 0.5)
            labels.append(len(inside))
    pictures = prepared(torch.stack(x))
    return Scenes(pictures, pictures, torch.stack(truth), torch.tensor(labels))


def cells(name: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Kind and box (left, top, right, bottom) of every cell that somebody marked."""
    root = ET.parse(SHARED / "bccd" / "Annotations" / f"{name}.xml").getroot()  # noqa: S314
    sides = ("xmin", "ymin", "xmax", "ymax")
    return [
        (str(o.findtext("name")), tuple(int(o.findtext(f"bndbox/{k}") or 0) for k in sides))  # type: ignore[misc]
        for o in root.iter("object")
    ]


def blood_rig(count: int) -> Planted:
    """Is there a white cell?  A network trained here; the boxes that people drew are the truth."""
    torch.manual_seed(3)
    data = blood(True)
    model = rig.trained(rig.small_network(2, (12, 16, 24, 32, 32)), rig.batches(data, 32), "blood", steps=200)
    found = right(model, blood(False))
    cell = found.labels == 1
    return chosen("blood cells", "is there a white cell; boxes drawn by people", model, found, {}, count, cell)
