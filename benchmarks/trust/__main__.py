"""Rerun the proof: `python -m benchmarks.trust`, or a part of it: `--only verdicts`.

Parts: values, verdicts, unfair, third guess, claims, photographs, stamp, motifs.  Each puts its figures into
results.json here; RESULTS.md and the pictures of the docs are made of that anew.  The networks are trained once (two
minutes) and kept in the user's cache folder.  All of it takes about forty minutes of one core, the photographs half of
them: those can be stopped and go on where they were, and `--methods NAME` runs some of their methods anew.

Two parts ask for a package each, and are left as they were where it is not installed: stamp for imagenet-w (in the
environment of `make peers`), motifs for torch-geometric.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import facts, replace
from benchmarks.trust import claims, motifs, nulls, ordering, photographs, report, stamp, unfair
from benchmarks.trust.networks import RIGS
from benchmarks.trust.verdicts import summary, third_guess

STORE = Path(__file__).with_name("results.json")
Part = Callable[[float], dict[str, Any]]
NEEDS = {"stamp": ("imagenet_w", "imagenet-w"), "motifs": ("torch_geometric", "torch-geometric")}


def values(scale: float) -> dict[str, Any]:
    """The values of the research notes, measured on a rig of our own."""
    found: dict[str, Any] = {"graded": ordering.graded_maps(round(12 * scale))}
    found |= {"methods": ordering.real_methods(round(24 * scale)), "rejected": nulls.rejected(round(60 * scale))}
    return found | {"coverage": nulls.coverage(round(8 * scale)), "left": nulls.glyphs_left(round(40 * scale))}


def rig(name: str) -> Part:
    """The verdicts on one planted network."""
    return lambda scale: summary(name, round(30 * scale))


def parts(methods: str) -> dict[str, Part]:
    """All parts by name; `methods` restricts the photographs' methods to those whose name contains it."""
    return {
        "values": values,
        **{f"verdicts on {name}": rig(name) for name in RIGS},
        "unfair": lambda scale: {"told": unfair.told(round(20 * scale))},
        "third guess": lambda scale: {"words": third_guess(round(16 * scale))},
        "claims": claims.all_of,
        "photographs": lambda scale: photographs.cards(round(20 * scale), methods),
        "stamp": stamp.all_of,
        "motifs": motifs.all_of,
    }


def lacking(name: str) -> str:
    """The package that this part needs and that is not installed, or ''."""
    module, package = NEEDS.get(name, ("", ""))
    return package if module and find_spec(module) is None else ""


def main() -> None:
    """Run the parts, keep their figures, write the section and the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--only", default="", help="parts whose name contains this; 'none' rewrites the pages alone")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer pictures than usual (default 1)")
    parser.add_argument("--methods", default="", help="of the photographs' methods only those whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, part in parts(given.methods).items():
        if given.only not in name:
            continue
        if package := lacking(name):
            sys.stdout.write(f"{name}: skipped, since {package} is not installed; its last figures stay\n")
            continue
        since = time.process_time()
        found = part(given.scale)
        found.setdefault("seconds", time.process_time() - since)
        known = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
        known[name] = found
        replace(STORE, json.dumps(known, indent=1) + "\n")
        sys.stdout.write(f"{name}: {found['seconds']:.0f} s\n")
        sys.stdout.flush()
    report.write(json.loads(STORE.read_text(encoding="utf-8")), facts(("pellucid",), 1).rpartition(";")[0])


if __name__ == "__main__":
    main()
