"""Lucent and Horama, used as their own examples do, with nothing but the network's preparation and range put in.

Horama fetches the spectrum of ImageNet when it first runs; here it finds one made of photographs' statistics
(`pellucid.dream.painting.photographs`) in the file that it looks for. Its crops need torchvision's compiled
`roi_align`, which does not load beside a CPU torch; with one sample a bin, the case that its defaults are, that is
bilinear sampling, and Horama is given that (`sampled`): torchvision's own Python version takes far longer.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

Tick = Callable[[], None]
HORAMA_SIDE = 1280  # its default


def lucent(
    model: nn.Module, layer: str, numbers: Sequence[int], side: int, steps: Sequence[int], tick: Tick,
    prepare: Callable[[Tensor], Tensor], *, frozen: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Lucent's pictures `[n, 3, side, side]` after each of the numbers of steps, one a channel, in one batch.

    Decorrelated Fourier pixels, its standard transforms, Adam at .05, and 224 pixels for the network, all as it comes.
    `frozen`: without gradients of the weights, for the same pictures in less time.
    """
    from lucent.optvis import objectives, param, render

    torch.manual_seed(0)
    np.random.seed(0)
    hooked = copy.deepcopy(model)  # its hooks are never taken off again
    hooked.requires_grad_(not frozen)
    parts = [objectives.channel(layer, number, batch=i) for i, number in enumerate(numbers)]
    asked = parts[0] if len(parts) == 1 else objectives.Objective.sum(parts)

    def ticked(read: Callable[[str], Tensor]) -> Tensor:
        tick()
        found: Tensor = asked(read)
        return found

    def canvas() -> tuple[list[Tensor], Callable[[], Tensor]]:
        found: tuple[list[Tensor], Callable[[], Tensor]] = param.image(side, batch=len(numbers))
        return found

    found = render.render_vis(
        hooked, objectives.Objective(ticked, "channels"), canvas, thresholds=tuple(steps), progress=False,
        show_image=False, preprocess=False, transforms=[*render.transform.standard_transforms, prepare],
    )  # fmt: skip
    return [torch.from_numpy(np.asarray(x)).permute(0, 3, 1, 2).float() for x in found]


def horama(
    score: Callable[[Tensor], Tensor], steps: Sequence[int], tick: Tick, side: int = HORAMA_SIDE, low: float = -1.0
) -> list[Tensor]:
    """One picture `[3, side, side]` in 0..1 after each of the numbers of steps, by MACO as it comes.

    1280 pixels, six crops a step, NAdam at 1; `low` to 1 is the network's range.
    """
    import horama.common
    import horama.maco_fv

    taken: list[Tensor] = []
    once = horama.common.optimization_step

    def step(objective: Any, image: Tensor, *rest: Any) -> Any:
        tick()
        if len(ticks) in steps:
            taken.append(image.detach().clone())
        ticks.append(None)
        return once(objective, image, *rest)

    ticks: list[None] = []
    horama.common.roi_align, horama.maco_fv.tqdm, horama.maco_fv.optimization_step = sampled, iter, step
    torch.manual_seed(0)
    with spectrum_at_hand(side):
        found, _ = horama.maco(
            lambda x: score(x).mean(), total_steps=max(steps), image_size=side, values_range=(low, 1.0), device="cpu"
        )
    return [(x - low) / (1 - low) for x in (*taken, found.detach())]


@contextlib.contextmanager
def spectrum_at_hand(side: int) -> Iterator[None]:
    """A working folder with the file that Horama looks for, so that it fetches nothing."""
    from horama.maco_fv import MACO_SPECTRUM_FILENAME

    from pellucid.dream.painting.photographs import spectrum

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        np.save(MACO_SPECTRUM_FILENAME, spectrum(side, side).numpy())
        yield


def sampled(image: Tensor, boxes: Tensor, output_size: tuple[int, int]) -> Tensor:
    """`torchvision.ops.roi_align` (not aligned) with one sample a bin: boxes `[k, 5]` of one picture `[1, c, h, w]`."""
    height, width = image.shape[2:]
    rows, columns = output_size
    x = boxes[:, 1:2] + (torch.arange(columns) + 0.5) / columns * (boxes[:, 3:4] - boxes[:, 1:2])
    y = boxes[:, 2:3] + (torch.arange(rows) + 0.5) / rows * (boxes[:, 4:5] - boxes[:, 2:3])
    across, down = (2 * x / (width - 1) - 1)[:, None, :], (2 * y / (height - 1) - 1)[:, :, None]
    grid = torch.stack(torch.broadcast_tensors(across, down), -1)
    inside = ((x >= -1) & (x <= width))[:, None, None, :] & ((y >= -1) & (y <= height))[:, None, :, None]
    many = image.expand(len(boxes), -1, -1, -1)
    return grid_sample(many, grid, mode="bilinear", padding_mode="border", align_corners=True) * inside


def installed() -> bool:
    """Are both peers here?"""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("lucent", "horama"))
