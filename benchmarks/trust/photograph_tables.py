"""The tables of the photographs: the average card of every method, and which methods have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.trust import published
from benchmarks.trust.every_method import REFUSED
from benchmarks.trust.tables import ENOUGH, num, ranked, table
from benchmarks.trust.verdicts import WORDS

Known = dict[str, Any]
HEAD = (
    "map", "of", "r", "r less Grad-CAM's", "size", "S / W / N / C", "stable", "random weights", "gap", "passes",
    "CPU s", "notes: r",
)  # fmt: skip


def section(found: Known) -> Iterator[str]:
    """What was measured of them."""
    first = found["first"]
    yield "### EfficientNet-Lite0 on labelled photographs\n"
    yield f"{found['pictures']} photographs that it names rightly (of dear methods the first few, see `of`),"
    yield f"{found['probes']} probes each, the same for every method. Means, with 95 % intervals by bootstrap over"
    yield f"photographs where they are {ENOUGH} or more. `r less Grad-CAM's`: photograph by photograph, so an interval"
    yield "without zero is a difference. `size`: r of the map's absolute values. Stability and random weights: on"
    yield f"{found['few']} photographs, of methods of at most {found['again']} passes. In brackets options"
    yield "other than the defaults. What has too few photographs for an interval comes last.\n"
    rows = [_row(name, m) for name, m in ranked(found["methods"])]
    for name in ("edges", "center", "ceiling"):
        told = wide(found[name], found["pictures"])
        rows.append([f"*{name}*", found["pictures"], told, *[""] * 8, num(published.PHOTOGRAPHS[name])])
    yield from table(HEAD, rows)
    yield f"S / W / N / C: how often Supported, Weak, Not supported, Can't tell. Areas removed: {found['areas']}.\n"
    if first["pictures"] < found["pictures"]:
        yield f"The first {first['pictures']} photographs are not like all: there Grad-CAM has {first['grad_cam']:.2f},"
        yield f"edges {first['edges']:.2f}, center {first['center']:.2f}, the ceiling {first['ceiling']:.2f}.\n"
    yield "Methods that have no card on one photograph and this network:\n"
    yield from table(("method", "why"), list(REFUSED.items()))


def wide(v: Sequence[float], pictures: int, sign: str = "") -> str:
    """A mean, with its interval where there are enough pictures for one."""
    return f"{v[0]:{sign}.2f}" + (f" [{v[1]:{sign}.2f}, {v[2]:{sign}.2f}]" if pictures >= ENOUGH else "")


def _row(name: str, m: Known) -> list[object]:
    words = " / ".join(str(m["words"][w]) for w in WORDS)
    gap = f"{m['gap']:.1%}" if m["gap"] is not None else ""
    ahead = "" if name == "grad_cam" else wide(m["ahead"], m["pictures"], "+")
    return [
        m["asked"], m["pictures"], wide(m["r"], m["pictures"]), ahead, num(m["size"][0]), words, num(m["stable"][0]),
        num(m["random weights"][0]), gap, f"{m['passes']:.0f}", f"{m['seconds']:.2f}",
        num(published.PHOTOGRAPHS.get(name)),
    ]  # fmt: skip
