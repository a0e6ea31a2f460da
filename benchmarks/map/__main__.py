"""Time to the first whole picture: `make map-bench`, or `python -m benchmarks.map --rounds 1 --only 1000`.

Contestants take turns, file by file; who needs longer than the limit once is not asked for larger files of the kind.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.map import generate, timed
from benchmarks.trust.tables import table

HERE = Path(__file__).parent
STORE = HERE / "results.json"
SIZES, LIMIT = (1000, 5000, 10000, 50000), 240.0
WHO = {
    "pellucid": timed.ours,
    "pellucid, every operation": partial(timed.ours, every=True),
    "netron": timed.netron,
}


def main() -> None:
    """Time everyone on every file and write the section down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.map", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="files whose name contains this; 'none' rewrites the page alone")
    parser.add_argument("--pictures", default="", help="a folder for a screenshot of each page")
    given = parser.parse_args()
    known: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    slow: set[tuple[str, bool]] = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, path, operators in generate.files(Path(folder), SIZES if given.only != "none" else ()):
            if given.only in name:
                known[name] = {"operators": operators, **raced(name, path, given.rounds, slow, given.pictures)}
                known["machine"] = harness.facts(("netron", "playwright"), given.rounds).rpartition(";")[0]
                harness.replace(STORE, json.dumps(known, indent=1) + "\n")
                sys.stdout.write(f"{name}: {json.dumps(known[name])}\n")
                sys.stdout.flush()
    harness.replace(HERE / "section.md", "\n".join(section(known)) + "\n")
    store = harness.HERE / "results.json"
    others = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    harness.replace(harness.HERE / "RESULTS.md", harness.page(others))


def raced(name: str, path: Path, rounds: int, slow: set[tuple[str, bool]], pictures: str) -> dict[str, list[float]]:
    """Seconds of everyone, in turns; None for what did not end within the limit."""
    found: dict[str, list[float]] = {who: [] for who in WHO}
    for _ in range(rounds):
        for who, call in WHO.items():
            kind = (who, "mask" in name)
            if kind in slow:
                continue
            picture = Path(pictures) / f"{who}_{path.stem}.png" if pictures else None
            took = call(path, LIMIT, picture)
            found[who].append(took if math.isfinite(took) else -1)
            if not math.isfinite(took):
                slow.add(kind)
    return found


def section(known: dict[str, Any]) -> list[str]:
    """The table."""
    rows = []
    for name, row in known.items():
        if name == "machine":
            continue
        mine, every, theirs = (_median(row.get(who, [])) for who in WHO)
        ratios = [f"{theirs / own:.1f}" if own and theirs else "" for own in (mine, every)]
        rows.append([name, str(row["operators"]), *(_said(row.get(who, [])) for who in WHO), *ratios])
    heads = (
        "file",
        "operators",
        "Pellucid s",
        "every operation s",
        "Netron s",
        "Netron / Pellucid",
        "/ every operation",
    )
    return [
        "## First whole picture of a network\n",
        "Rerun: `make map-bench`. From an ONNX file to the picture in headless Chromium, everything included: reading,",
        "layout, the page. Pellucid writes a page that shows the whole network with repeated blocks folded and opens",
        "it; *every operation*: until nothing is folded any more, which is asked of the page once it is there. Netron",
        "draws a box for each operator; ours then has two for three of them, since layers that are spelled out in",
        "several (normalization, GELU) are one.",
        "Median (range; how often) of wall-clock seconds, in turns; a machine whose two cores may be busy:",
        "compare within a row.",
        f"A dash: not drawn within {LIMIT:.0f} s once, so not asked again. Files: `benchmarks/map/generate.py`.",
        f"Measured on: {known.get('machine', '')}.\n",
        *table(heads, rows),
    ]


def _median(found: list[float]) -> float:
    return statistics.median(found) if found and min(found) > 0 else 0.0


def _said(found: list[float]) -> str:
    if not _median(found):
        return "–"
    return f"{_median(found):.1f} ({min(found):.1f} to {max(found):.1f}; {len(found)})"


if __name__ == "__main__":
    main()
