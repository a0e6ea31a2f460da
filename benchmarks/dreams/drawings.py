"""The curve of docs/dreams.md: quality against CPU seconds, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.trust.drawings import WIDTH, page, text

COLORS = ("#1b6ca8", "#8fc1e3", "#3d8b5f", "#8d6ab8", "#e07b39", "#e8a33d", "#777777")
LEFT, TOP, HIGH, BETWEEN = 62.0, 70.0, 250.0, 62.0
WIDE = (WIDTH - LEFT - BETWEEN - 14) / 2
Curves = Mapping[str, Sequence[tuple[float, float, int]]]  # seconds, quality, steps


def quality(panels: Mapping[str, Curves]) -> str:
    """A panel a measure, a line a contestant, a dot a number of steps; seconds on a logarithmic axis."""
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    body = list(_legend(names))
    for k, (title, curves) in enumerate(panels.items()):
        body += _panel(title, curves, names, LEFT + k * (WIDE + BETWEEN))
    body.append(text(LEFT, TOP + HIGH + 44, "CPU seconds a picture, one thread; the numbers are steps", size=11))
    return page(TOP + HIGH + 58 + 18 * math.ceil(len(names) / 4) - 18, body, "Quality of dreams against CPU time")


def _legend(names: Sequence[str]) -> Iterator[str]:
    for i, name in enumerate(names):
        x, y = LEFT + 210 * (i % 4), 16 + 18 * (i // 4)
        yield f'<rect x="{x:.0f}" y="{y - 6}" width="16" height="4" fill="{COLORS[i % len(COLORS)]}"/>'
        yield text(x + 22, y, name, size=11)


def _panel(title: str, curves: Curves, names: Sequence[str], left: float) -> Iterator[str]:
    points = [p for line in curves.values() for p in line]
    ends = min(p[0] for p in points) / 1.2, max(p[0] for p in points) * 1.3
    most = 1.0 if max(p[1] for p in points) <= 1 else 4.0 * math.ceil(max(p[1] for p in points) / 4)

    def across(seconds: float) -> float:
        return left + WIDE * math.log(seconds / ends[0]) / math.log(ends[1] / ends[0])

    def down(value: float) -> float:
        return TOP + HIGH * (1 - max(value, 0) / most)

    yield text(left, TOP - 10, title, size=12, weight="bold")
    for i in range(5):
        y = down(most * i / 4)
        yield f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDE:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield text(left - 6, y + 4, f"{most * i / 4:.2g}", anchor="end", size=11)
    for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200):
        if ends[0] <= tick <= ends[1]:
            x = across(tick)
            yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + HIGH}" stroke="#eee"/>'
            yield text(x, TOP + HIGH + 16, f"{tick:g}", anchor="middle", size=11)
    for name, line in curves.items():
        color = COLORS[names.index(name) % len(COLORS)]
        at = [(across(s), down(q), steps) for s, q, steps in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in at)
        yield f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2.5"/>'
        for x, y, steps in at:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>'
            if name == names[0] or steps == 512:
                yield text(x, y - 7, str(steps), anchor="middle", size=10)
