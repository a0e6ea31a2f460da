"""The pictures of docs/trust_proof.md, as SVG: the verdict matrix, the calibration curve, the methods by r."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.trust.tables import ENOUGH, ranked

COLORS = {"Supported": "#1b6ca8", "Weak": "#8fc1e3", "Not supported": "#e8a33d", "Can't tell": "#c9c9c9"}
TITLES = {
    "true": "True maps: should be blue",
    "diluted": "The truth mixed with the same map moved elsewhere: less and less blue",
    "a method's": "Maps of real methods: no right answer is known",
    "wrong": "Wrong maps: should have no dark blue",
    "unfair": "Networks where nothing can be told: should be gray",
}
LABEL, BAR, ROW, WIDTH = 300, 470, 21, 900
FAMILIES = {
    "class activation": "#0072b2", "relevance": "#cc79a7", "gradient": "#d55e00", "coalition": "#009e73",
    "perturbation": "#b8860b",
}  # fmt: skip
YARDSTICKS = {"edges": "#8a8a8a", "center": "#444", "ceiling": "#1b6ca8"}
LINES = ("#1b6ca8", "#e07b39", "#3d8b5f")


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "start", weight: str = "normal") -> str:
    """One line of text."""
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style} fill="#222">{escape(words)}</text>'


def page(height: float, body: Sequence[str], said: str) -> str:
    """A white page with a description for those who cannot see it."""
    said_of = f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" font-family="sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {said_of}>'
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>'
    return "\n".join([head, f"<title>{escape(said)}</title>", ground, *body, "</svg>", ""])


def verdict_matrix(known: Mapping[tuple[str, str], Counter[str]], unfair: Mapping[str, Counter[str]]) -> str:
    """A bar a kind of map: how often the card said each word."""
    groups: dict[str, dict[str, Counter[str]]] = {}
    for (kind, name), words in known.items():
        groups.setdefault(kind, {})[name] = words
    if unfair:
        groups["unfair"] = dict(unfair)
    body, y = list(_legend(24)), 44.0
    for kind, rows in groups.items():
        y += 24
        body.append(text(10, y, TITLES[kind], weight="bold", size=13))
        y += 8
        for name, words in rows.items():
            body += _bar(name, words, y)
            y += ROW
    return page(y + 14, body, "What the trust card said of maps whose worth is known")


def _legend(y: float) -> Iterator[str]:
    x = 10.0
    for word, color in COLORS.items():
        yield f'<rect x="{x}" y="{y - 11}" width="14" height="14" fill="{color}"/>'
        yield text(x + 20, y, word)
        x += 40 + 7.2 * len(word)
    yield text(WIDTH - 10, y, "Supported", anchor="end")


def _bar(name: str, words: Counter[str], y: float) -> Iterator[str]:
    of, x = sum(words.values()), float(LABEL)
    yield text(LABEL - 10, y + 14, name, anchor="end")
    for word, color in COLORS.items():
        wide = BAR * words[word] / of
        if wide:
            yield f'<rect x="{x:.1f}" y="{y + 2:.1f}" width="{wide:.1f}" height="{ROW - 4}" fill="{color}"/>'
        x += wide
    yield text(WIDTH - 10, y + 14, f"{words['Supported']} of {of} = {words['Supported'] / of:.0%}", anchor="end")


def calibration(curves: Mapping[str, Sequence[tuple[float, float, int, int]]]) -> str:
    """How many maps stay ahead of the better guess on probes never seen, by the margin that the card found."""
    left, top, width, height = 80, 60, 620, 260
    bins = [(low, high) for low, high, _, _ in next(iter(curves.values()))]
    body = [
        text(
            10,
            24,
            "Share of maps that stay ahead of the better guess on perturbations never seen",
            size=14,
            weight="bold",
        )
    ]
    for level in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - level)
        body.append(f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#ddd"/>')
        body.append(text(left - 8, y + 4, f"{level:.0%}", anchor="end"))
    step = width / len(bins)
    zero = left + step * sum(high <= 0 for _, high in bins)
    body.append(
        f'<rect x="{zero}" y="{top}" width="{left + width - zero}" height="{height}" fill="#1b6ca8" opacity="0.08"/>'
    )
    body.append(text(zero + 6, top + height - 8, "the card says Supported"))
    for k, (low, high) in enumerate(bins):
        said = f"{low:g} to {high:g}".replace("-inf to", "below").replace(" to inf", " and more")
        body.append(text(left + step * (k + 0.5), top + height + 18, said, anchor="middle", size=11))
    body.append(
        text(
            left + width / 2, top + height + 42, "lower end of the interval of r less the better guess", anchor="middle"
        )
    )
    for color, (name, rows) in zip(LINES, curves.items(), strict=False):
        share = [
            (left + step * (k + 0.5), top + height * (1 - hits / of)) for k, (*_, hits, of) in enumerate(rows) if of
        ]
        body += _line(share, color, 8 - 3 * LINES.index(color))
        y = top + 12 + 20 * list(curves).index(name)
        body.append(f'<rect x="{left + width + 20}" y="{y - 8}" width="12" height="4" fill="{color}"/>')
        body.append(text(left + width + 38, y, name, size=11))
    counts = [of for *_, of in next(iter(curves.values()))]
    body += [text(left + step * (k + 0.5), top - 8, f"n = {n}", anchor="middle", size=10) for k, n in enumerate(counts)]
    return page(top + height + 60, body, "Calibration of the trust card")


def _line(at: Sequence[tuple[float, float]], color: str, thick: int) -> Iterator[str]:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{thick}"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + thick / 2}" fill="{color}"/>' for x, y in at)


def methods(found: Mapping[str, Any]) -> str:
    """All methods by mean r on photographs with intervals; a ring where the map's absolute values are."""
    rows = ranked(found["methods"])
    top, step, left, width = 90, 17, 270, 600
    bottom = top + step * len(rows)

    def at(r: float) -> float:
        return left + width * (r + 0.7) / 1.5

    heading = "How well each method foretells what removing parts of a photograph does"
    body = [text(10, 24, heading, size=14, weight="bold"), *_families(48)]
    for tenths in range(-6, 9, 2):
        body.append(_upright(at(tenths / 10), top, bottom, "#e8e8e8" if tenths else "#999"))
        body.append(text(at(tenths / 10), bottom + 16, f"{tenths / 10:g}", anchor="middle", size=11))
    for name, color in YARDSTICKS.items():
        mean, low, high = found[name]
        place = f'x="{at(low):.1f}" y="{top}" width="{at(high) - at(low):.1f}" height="{bottom - top}"'
        body.append(f'<rect {place} fill="{color}" opacity="0.08"/>')
        body.append(_upright(at(mean), top, bottom, color, "5 3"))
        body.append(text(at(mean), top - 6, name, anchor="end" if name == "edges" else "start", size=11))
    for k, (name, m) in enumerate(rows):
        few = m["pictures"] < found["pictures"]
        said = name.replace("_", " ") + (f" ({m['pictures']} photographs)" if few else "")
        body.append(text(left - 10, top + step * (k + 0.5) + 4, said, anchor="end"))
        body += [f'<g opacity="{0.45 if few else 1}">', *_interval(m, top + step * (k + 0.5), at), "</g>"]
    body.append(text(left + width / 2, bottom + 36, "mean r, with its 95 % interval over photographs", anchor="middle"))
    return page(bottom + 48, body, "All methods by mean r on photographs, with intervals, edges, center and ceiling")


def _families(y: float) -> Iterator[str]:
    x = 15.0
    for name, color in FAMILIES.items():
        yield f'<circle cx="{x}" cy="{y - 4}" r="4.5" fill="{color}"/>'
        yield text(x + 10, y, name)
        x += 34 + 6.6 * len(name)
    yield f'<circle cx="{x}" cy="{y - 4}" r="3.5" fill="#fff" stroke="#555" stroke-width="1.5"/>'
    yield text(x + 10, y, "r of the absolute values, where .05 or more above")


def _upright(x: float, top: float, bottom: float, color: str, dashes: str = "none") -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{color}" stroke-dasharray="{dashes}"/>'


def _interval(m: Mapping[str, Any], y: float, at: Callable[[float], float]) -> Iterator[str]:
    (mean, low, high), size, color = m["r"], m["size"][0], FAMILIES[m["family"]]
    if m["pictures"] >= ENOUGH:
        place = f'x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
        yield f'<line {place} stroke="{color}" stroke-width="2"/>'
    yield f'<circle cx="{at(mean):.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>'
    if size - mean >= 0.05:
        yield f'<circle cx="{at(size):.1f}" cy="{y:.1f}" r="3.5" fill="#fff" stroke="{color}" stroke-width="1.5"/>'
