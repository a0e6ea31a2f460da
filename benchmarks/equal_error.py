"""Coalitions and masks: ours with fewer evaluations than the other's, with the error that both have left.

A photograph on EfficientNet-lite0, its first class, 7 x 7 blocks against zero.  An error is the squared distance to the
limit of many evaluations over the limit's squared length, on average over rounds, each with a seed of its own; both
parties of a row have the same limit.  Read both errors before the ratio: where ours is larger, the row is no gain at
equal error.  Times are those of these same runs, in turns: CPU time with one thread, or, on a
GPU, wall time to the end of its work.  Runs where captum is: the tests' environment.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from harness import facts, write
from torch import Tensor, nn

COFFEE = Path(__file__).resolve().parent.parent / "examples" / "coffee.jpg"
TITLE, CELLS, WIDTH, MANY = "Coalitions and masks: time and error", 7, 0.25, 2048
COLUMNS = ["method", "who", "evaluations", "squared error", "s (range)", "other's time / Pellucid's", "note"]
Run = Callable[[int], Tensor]  # from a seed to a map


@dataclass(frozen=True, slots=True)
class Picture:
    """A network, what it sees, the class that is explained, and the number of the block at each place."""

    model: nn.Module
    x: Tensor
    target: int
    blocks: Tensor


def picture(device: str) -> Picture:
    import pellucid as pl

    net = pl.open("efficientnet_lite0")
    x, model = net.read(COFFEE).to(device), net.model.eval().to(device)
    with torch.no_grad():
        target = int(model(x).argmax())
    at = torch.arange(x.shape[-1], device=device) * CELLS // x.shape[-1]
    return Picture(model, x, target, (at[:, None] * CELLS + at)[None, None])


def ours(p: Picture, method: str, **options: Any) -> Run:
    import pellucid as pl
    from pellucid.core.run import Run as Settings
    from pellucid.core.run import running

    net, explain = pl.open(p.model), getattr(pl.methods, method)
    options = {"cells": CELLS, "fill": "constant"} | options

    def run(seed: int) -> Tensor:
        with running(Settings(seed=seed)):
            return explain(net, p.x, pl.logit(p.target), **options).values

    return run


def captum_lime(p: Picture, samples: int) -> Run:
    """With our kernel and plain least squares, so that the limit is ours; its own coins."""
    from captum import attr
    from captum._utils.models.linear_model import SkLearnLinearModel

    def near(_x: Tensor, _changed: Tensor, there: Tensor, **_: Any) -> Tensor:
        return torch.exp(-((1 - there.float().mean().sqrt()) ** 2) / (2 * WIDTH**2))

    fit = SkLearnLinearModel(sklearn_module="linear_model.LinearRegression")
    return captum(p, attr.Lime(p.model, interpretable_model=fit, similarity_func=near), samples)


def captum_kernel_shap(p: Picture, samples: int) -> Run:
    from captum import attr

    return captum(p, attr.KernelShap(p.model), samples)


def captum(p: Picture, method: Any, samples: int) -> Run:
    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return method.attribute(p.x, target=p.target, feature_mask=p.blocks, n_samples=samples)[:, :1]

    return run


def papers_rise(p: Picture, masks: int) -> Run:
    """The paper's estimator, written plainly: the mean of score times mask, over the chance to be seen."""
    side = p.x.shape[-1]
    cell = -(-side // CELLS)

    def run(seed: int) -> Tensor:
        generator, total = torch.Generator().manual_seed(seed), torch.zeros_like(p.x[:, :1])
        for _ in range(masks):
            cells = (torch.rand(1, 1, CELLS, CELLS, generator=generator) < 0.5).to(p.x)
            large = nn.functional.interpolate(cells, size=((CELLS + 1) * cell,) * 2, mode="bilinear")
            down, right = torch.randint(cell, (2,), generator=generator).tolist()
            mask = large[..., down : down + side, right : right + side]
            with torch.no_grad():
                total += p.model(p.x * mask)[:, p.target].view(-1, 1, 1, 1) * mask
        return total / (masks * 0.5)

    return run


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ours, the other's, the limit that both tend to; a map may have a constant of its own."""

    method: str
    mine: Callable[[Picture], Run]
    evaluations: int
    name: str
    other: Callable[[Picture], Run]
    others: int
    limit: Callable[[Picture], Run]
    note: str = ""
    free: bool = False


ROWS = (
    Row(
        "lime", lambda p: ours(p, "lime", samples=320), 320,
        "captum, Lime", lambda p: captum_lime(p, 512), 512,
        lambda p: ours(p, "lime", samples=MANY), "captum with our kernel and unpenalized, so that the limit is one",
    ),
    Row(
        "kernel_shap", lambda p: ours(p, "kernel_shap", samples=196), 198,
        "captum, KernelShap", lambda p: captum_kernel_shap(p, 794), 794,
        lambda p: ours(p, "kernel_shap", samples=MANY), "captum with four times as many",
    ),
    Row(
        "rise", lambda p: ours(p, "rise", masks=100), 101,
        "the paper's estimator", lambda p: papers_rise(p, 400), 400,
        lambda p: ours(p, "rise", masks=MANY),
        "no installed package has RISE: its paper's mean of score times mask, one mask a pass, less its own constant",
        free=True,
    ),
)  # fmt: skip


def seconds(call: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """What a run took, and its map."""
    if device == "cpu":
        start = time.process_time()
        found = call()
        return time.process_time() - start, found
    torch.cuda.synchronize()
    start = time.perf_counter()
    found = call()
    torch.cuda.synchronize()
    return time.perf_counter() - start, found


def compared(row: Row, p: Picture, device: str, rounds: int) -> list[list[str]]:
    """Both parties in turns, each round with another seed."""
    parties = [row.mine(p), row.other(p)]
    limit = row.limit(p)(10_000)
    middle = limit.mean() if row.free else 0.0
    size = float((limit - middle).square().sum())
    times, errors = [list[float](), list[float]()], [list[float](), list[float]()]
    for seed in range(rounds):
        for who in (0, 1) if seed % 2 == 0 else (1, 0):
            spent, found = seconds(lambda w=who, s=seed: parties[w](s), device)
            away = found - limit
            away = away - away.mean() if row.free and who == 1 else away
            times[who].append(spent)
            errors[who].append(float(away.square().sum()) / size)
    ratio = median(b / a for a, b in zip(*times, strict=True))
    out = []
    for who, name, count in ((0, "pellucid", row.evaluations), (1, row.name, row.others)):
        spent = f"{median(times[who]):.3g} ({min(times[who]):.3g} to {max(times[who]):.3g})"
        last = [f"{ratio:.1f}", row.note] if who else ["", ""]
        out.append([name, str(count), f"{fmean(errors[who]):.2g}", spent, *last])
    return out


def main() -> None:
    """Every row, on the processor and on a GPU where there is one."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default 3)")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    machine, about = facts(("captum",), given.rounds), " ".join((__doc__ or "").split("\n\n")[1].split())
    for device, title in (("cpu", TITLE), ("cuda", f"{TITLE}, on a GPU")):
        if device == "cuda" and not torch.cuda.is_available():
            write(title, about, "no GPU here", [[""] * (len(COLUMNS) - 1)], machine, columns=COLUMNS)
            continue
        p = picture(device)
        for row in (r for r in ROWS if given.only in r.method):
            found = compared(row, p, device, given.rounds)
            for line in found:
                sys.stdout.write(f"{row.method} ({device}): {' | '.join(line)}\n")
            sys.stdout.flush()
            write(title, about, row.method, found, machine, columns=COLUMNS)


if __name__ == "__main__":
    main()
