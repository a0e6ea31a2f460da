"""The section of RESULTS.md on dreams, and the curve of quality, made of the figures that were kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.dreams import cost, drawings, quality, recipes
from benchmarks.dreams.subjects import ROOT
from benchmarks.trust.tables import num, table

HERE = Path(__file__).parent
IMAGES = ROOT / "docs" / "images"
MEASURES = {
    "lite1": "lite1 reads it", "lite2": "lite2 reads it", "first1": "first of lite1", "first2": "first of lite2",
    "robust": "robust", "activation": "activation", "spectrum": "spectrum", "saturated": "saturated",
    "colorful": "colorful",
}  # fmt: skip
ON_CHANNELS = ("2AFC", "robust", "activation", "spectrum", "saturated", "colorful")
READING = (
    "lite1, lite2: the mean probability that EfficientNet-Lite1 and 2 give the class (networks that the dream was not "
    "made for). Robust: the target under fresh moves; activation: as the picture is; of both 0 is photographs' mean, 1 "
    "their largest, medians over pictures. Spectrum: distance from photographs' in nats. Saturated: share of values "
    "near black or white. Colorful: as a multiple of photographs'. 2AFC: how often the dream tells which of two "
    "photographs excites the unit more; .5 is chance."
)
Known = Mapping[str, Any]


def write(known: Known) -> None:
    """The section, RESULTS.md with it, and the picture of the docs."""
    harness.replace(HERE / "section.md", "\n".join(section(known)) + "\n")
    store = harness.HERE / "results.json"
    others = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    harness.replace(harness.HERE / "RESULTS.md", harness.page(others))
    panels = curves(known)
    if panels:
        harness.replace(IMAGES / "dreams_quality.svg", drawings.quality(panels))


def section(known: Known) -> Iterator[str]:
    """Everything that was measured, a table each."""
    machine = known.get("machine", {}).get("said", "")
    spent = sum(part.get("seconds", 0.0) for part in known.values())
    yield "## Dreams\n"
    yield "Rerun: `make dreams`. EfficientNet-Lite0, 224 pixels unless another size is named; ImageNet photographs to"
    yield f"compare with. Measured on: {machine}; {spent:.0f} CPU seconds.\n"
    yield from costs(known)
    yield from qualities(known)
    yield from chosen(known)


def costs(known: Known) -> Iterator[str]:
    """Milliseconds of a step."""
    found = {case: known[f"cost: {n}"]["rows"] for n, case in cost.CASES.items() if f"cost: {n}" in known}
    if not found:
        return
    yield "### What a step costs\n"
    yield "CPU milliseconds of a step a picture. Everyone draws the same channel, in turns; Pellucid at one size, so"
    yield "without its smaller first part; Lucent as it comes, which enlarges pictures below 224 for the network;"
    yield "Horama looks at six crops a step. Bare: forward to the site and back, frozen, channels last, nothing else."
    yield "Two rounds on busy cores: the same passes differed by up to a third from one round to the next.\n"
    heads = ("site", "pixels", "pictures", "Pellucid", "bare", "Pellucid / bare", "Lucent", "Lucent / Pellucid",
             "Horama", "Horama / Pellucid")  # fmt: skip
    rows = [
        [site, side, batch, ms(who, "pellucid"), ms(who, "floor"), num(who["floor"]["ours to this"]),
         ms(who, "lucent"), times(who, "lucent"), ms(who, "horama"), times(who, "horama")]
        for (side, batch), by_site in found.items()
        for site, who in by_site.items()
    ]  # fmt: skip
    yield from table(heads, rows)


def ms(who: Known, name: str) -> str:
    """Milliseconds, or nothing."""
    return f"{who[name]['ms']:.1f}" if name in who else ""


def times(who: Known, name: str) -> str:
    """How many times as long as Pellucid, or nothing."""
    return f"{1 / who[name]['ours to this']:.1f}" if name in who else ""


def qualities(known: Known) -> Iterator[str]:
    """Quality against steps and time."""
    found = {n: known[f"quality: {n}"] for n in quality.CONTESTANTS if f"quality: {n}" in known}
    if not found:
        return
    paces = known.get("paces", {})
    yield "### Quality against steps and time\n"
    yield "Eight classes; of Lucent the first four, of Horama the first two, beside Pellucid's of those. Seconds:"
    yield "steps times what a step of one picture costs, everyone in turns, in batches where they can."
    yield f"{READING}\n"
    rows = [
        [name, steps, f"{float(steps) * paces[name]:.1f}" if name in paces else "", *measures(row, MEASURES)]
        for name, by_steps in found.items()
        for steps, row in by_steps.items()
        if steps != "seconds"
    ]
    yield from table(("who", "steps", "CPU s a picture", *MEASURES.values()), rows)


def measures(row: Known, names: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The cells of a row."""
    return [num(row.get(name)) for name in names]


def chosen(known: Known) -> Iterator[str]:
    """How the default recipe was chosen."""
    screened = {n: known[f"screening: {n}"] for n in recipes.SCREENED if f"screening: {n}" in known}
    finals = {n: known[f"finals: {n}"] for n in recipes.FINALS if f"finals: {n}" in known}
    if screened:
        yield "### Which recipe\n"
        yield "One knob at a time, four classes, 96 steps, one seed. The base: " + ", ".join(
            f"{k} {v}" for k, v in recipes.BASE.items()
        )
        yield ""
        rows = [[name, *measures(row, MEASURES)] for name, row in screened.items()]
        yield from table(("change", *MEASURES.values()), rows)
    if finals:
        yield "Finalists on eight classes, two seeds.\n"
        rows = [[name, said(recipes.FINALS[name]), *measures(row, MEASURES)] for name, row in finals.items()]
        yield from table(("finalist", "changes", *MEASURES.values()), rows)
    inside = {n: known[f"channels: {n}"] for n in recipes.FINALS if f"channels: {n}" in known}
    if inside:
        yield "The same on four channels at each of four depths, one seed.\n"
        rows = [[site, n, *measures(row[site], ON_CHANNELS)] for site in recipes.CHANNELS for n, row in inside.items()]
        yield from table(("site", "finalist", *ON_CHANNELS), rows)


def said(changes: Mapping[str, Any]) -> str:
    """Knobs in words."""
    return ", ".join(f"{k} {v}" for k, v in changes.items()) or "none"


def curves(known: Known) -> dict[str, drawings.Curves]:
    """Seconds, quality and steps of each contestant, for the two measures that count."""
    paces = known.get("paces", {})
    panels: dict[str, dict[str, list[tuple[float, float, int]]]] = {}
    for name in quality.CONTESTANTS:
        for steps, row in known.get(f"quality: {name}", {}).items():
            if steps == "seconds" or name not in paces:
                continue
            seconds = float(steps) * paces[name]
            for title, value in (
                ("Two other networks read the class (probability)", (row["lite1"] + row["lite2"]) / 2),
                ("Activation under fresh moves (1: best of 200 photographs)", row["robust"]),
            ):
                panels.setdefault(title, {}).setdefault(name, []).append((seconds, value, int(steps)))
    return dict(panels)
