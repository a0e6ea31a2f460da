"""Times Pellucid, its peers and the physical floor side by side, and writes the result down.

* Speed is CPU time of this process (`time.process_time`) with one thread, so a busy machine changes little.  All
  contestants of a case take turns in one process, in an order that rotates from round to round; a ratio is the median
  over rounds of the ratios within a round.
* Memory is the peak resident size of a fresh process during one explanation, above what it held when model, packages
  and one bare pass were in place.  The kernel keeps that peak (`VmHWM`, reset through `clear_refs`): nothing is
  sampled, nothing is missed.  Linux only.
* The floor is what no implementation that evaluates these passes one and all can beat: the number of passes that the
  method needs times the cost of one bare pass at the best batch size (1, 2, 4, 8, 16, never more than there are
  passes).  Methods that skip work (exact incremental occlusion) can go below it.
* The difference is the largest between our map and the peer's, relative to the largest value of the peer's.

A benchmark script lists its cases and calls `main`.  Results are kept in results.json, from which RESULTS.md is made.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
OURS, FLOOR = "pellucid", "floor"
BATCHES = (1, 2, 4, 8, 16)
Call = Callable[[], Tensor | None]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Somebody who explains: `prepare()` does what a user does once, and gives the call that is timed.

    `note` says what a reader of the row must know.  A map that comes on a scale of its own (0..1) is `scale_free`.
    """

    name: str
    prepare: Callable[[], Call]
    note: str = ""
    scale_free: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """`prepare()` gives `run(batch)`, one bare pass; the method needs `passes` samples through it."""

    passes: int
    prepare: Callable[[], Callable[[int], object]]
    what: str = "gradient"


@dataclass(frozen=True, slots=True)
class Case:
    """One row group: a method on a network, by everyone who has it.  The first contestant is Pellucid.

    The floor is a sum of parts, one for each kind of pass that the method needs.
    """

    name: str
    contestants: tuple[Contestant, ...]
    floor: tuple[Floor, ...]


def main(title: str, about: str, cases: Sequence[Case], packages: Sequence[str]) -> None:
    """Run a benchmark script: every case in processes of its own, then its section of RESULTS.md."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--without-us", action="store_true", help="peers and floor alone; nothing is written")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.measure:
        name, what = given.measure
        case = next(c for c in cases if c.name == name)
        found = timed(case, given.rounds, given.without_us) if what == "time" else peak(case, what)
        sys.stdout.write("\n" + json.dumps(found) + "\n")
        return
    for case in (c for c in cases if given.only in c.name):
        rows = measured(case, given.rounds, given.without_us)
        for row in rows:
            sys.stdout.write(f"{case.name}: {json.dumps(row)}\n")
        sys.stdout.flush()
        if not given.without_us:
            write(title, about, case.name, rows, facts(packages, given.rounds))


def measured(case: Case, rounds: int, without_us: bool) -> list[dict[str, Any]]:
    """Time and memory of everyone in a case; what cannot be measured says why."""
    found = elsewhere(case.name, "time", rounds, without_us)
    if not isinstance(found, list):
        return [{"name": "(all)", "failed": found["failed"]}]
    for row in found:
        if "failed" not in row:
            row |= elsewhere(case.name, row["name"], rounds, without_us)
    return found


def elsewhere(case: str, what: str, rounds: int, without_us: bool) -> Any:
    """The same script again, in a fresh process, for one measurement."""
    command = [sys.executable, sys.argv[0], "--rounds", str(rounds), "--measure", case, what]
    done = subprocess.run(command + ["--without-us"] * without_us, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        return {"failed": last[0][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def timed(case: Case, rounds: int, without_us: bool) -> list[dict[str, Any]]:
    """CPU seconds of everyone, in turns, with ratios and differences."""
    calls, maps, rows = dict[str, Callable[[], float]](), dict[str, Tensor](), dict[str, dict[str, Any]]()
    for who in case.contestants[1 if without_us else 0 :]:
        rows[who.name] = {"name": who.name, "note": who.note}
        try:
            call = who.prepare()
            maps[who.name] = checked(call())
            calls[who.name] = partial(seconds, call)
        except Exception as error:  # A peer that cannot do this is a result, not the end.
            rows[who.name]["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    runs = [part.prepare() for part in case.floor]
    batches = [best_batch(run, part.passes) for run, part in zip(runs, case.floor, strict=True)]
    parts = list(zip(case.floor, runs, batches, strict=True))
    rows[FLOOR] = {"name": FLOOR, "note": "; ".join(f"{p.passes} {p.what}, batches of {b}" for p, _, b in parts)}
    calls[FLOOR] = lambda: sum(seconds(partial(run, b)) * p.passes / b for p, run, b in parts)
    spent = interleaved(calls, rounds)
    for name, row in rows.items():
        if name in spent:
            row |= summary(spent, name)
    for who in case.contestants[1:]:
        if OURS in maps and who.name in maps:
            rows[who.name]["difference"] = difference(maps[OURS], maps[who.name], who.scale_free)
    return list(rows.values())


def interleaved(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """`rounds` measurements of each call; nobody is always first."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for i in range(rounds):
        turn = i % len(names)
        for name in (*names[turn:], *names[:turn]):
            spent[name].append(calls[name]())
    return spent


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call, with no garbage of others to collect."""
    gc.collect()
    start = time.process_time()
    call()
    return time.process_time() - start


def summary(spent: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Median and range in seconds, and the median ratios within rounds."""
    mine = spent[name]
    row: dict[str, Any] = {"seconds": statistics.median(mine), "low": min(mine), "high": max(mine)}
    row["to floor"] = statistics.median(a / b for a, b in zip(mine, spent[FLOOR], strict=True))
    if OURS in spent:
        row["ours to this"] = statistics.median(a / b for a, b in zip(spent[OURS], mine, strict=True))
    return row


def best_batch(run: Callable[[int], object], passes: int) -> int:
    """The batch size at which a sample costs least."""
    cost = {}
    for batch in (b for b in BATCHES if b <= passes):
        run(batch)
        cost[batch] = min(seconds(partial(run, batch)) for _ in range(2)) / batch
    return min(cost, key=lambda batch: cost[batch])


def checked(found: Tensor | None) -> Tensor:
    """A map that is worth comparing."""
    if found is None or not bool(torch.isfinite(found).all()) or not bool(found.abs().sum() > 0):
        raise ValueError("no map, or one that is zero or not finite")
    return found.detach().float()


def difference(ours: Tensor, theirs: Tensor, scale_free: bool) -> float:
    """The largest difference, relative to the largest value of the other map."""
    if scale_free:
        ours, theirs = ours / ours.abs().max(), theirs / theirs.abs().max()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def peak(case: Case, name: str) -> dict[str, float]:
    """MiB that one explanation takes above the model."""
    floor = case.floor[0]
    bare = floor.prepare()
    bare(1)  # The libraries' own buffers are nobody's merit or fault.
    if name == FLOOR:
        call: Callable[[], object] = partial(bare, best_batch(bare, floor.passes))
    else:
        call = next(who for who in case.contestants if who.name == name).prepare()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident()
    call()
    return {"MiB": (resident() - before) / 2**10}


def resident() -> int:
    """The largest resident size since the last reset, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def facts(packages: Sequence[str], rounds: int) -> str:
    """The machine and the versions, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    machine = f"{next(named, platform.machine())}, {os.cpu_count()} cores, 1 thread"
    versions = []
    for package in ("torch", *packages):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} absent")
    return f"{machine}; Python {platform.python_version()}, {', '.join(versions)}; {rounds} rounds"


def write(
    title: str, about: str, case: str, rows: Sequence[Any], machine: str, columns: Sequence[str] | None = None
) -> None:
    """Put the rows of a case into results.json, and make RESULTS.md of it anew.

    A row is what `timed` found; or, of a section with columns of its own, its cells after the case's name.
    """
    store = HERE / "results.json"
    known: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    section = known.get(title)
    if section is None or section["machine"] != machine:  # Figures of another machine do not belong in one table.
        section = known[title] = {"machine": machine, "cases": {}}
    section |= {"about": about} | ({"columns": columns} if columns else {})
    section["cases"][case] = rows
    replace(store, json.dumps(known, indent=1) + "\n")
    replace(HERE / "RESULTS.md", page(known))


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def page(known: dict[str, Any]) -> str:
    """RESULTS.md: a section a script, a row a contestant; then the sections that folders here keep whole."""
    out = ["# Results", "", "Written by the scripts in this folder; `harness.py` says how each number is taken.", ""]
    timings = "| case | who | CPU s (range) | times floor | Pellucid / this | peak MiB | largest difference | note |"
    for title, section in sorted(known.items()):
        own = section.get("columns")
        columns = f"| {' | '.join(own)} |" if own else timings
        out += [f"## {title}", "", section["about"], "", f"Measured on: {section['machine']}.", "", columns]
        out.append("|" + "---|" * columns.count("|", 1))
        for case, rows in section["cases"].items():
            for i, row in enumerate(rows):
                named = case if i == 0 else ""
                out.append(f"| {' | '.join([named, *row])} |" if own else line(named, row))
        out.append("")
    for whole in sorted(HERE.glob("*/section.md")):  # what is no race, a folder of its own wrote
        out += [whole.read_text(encoding="utf-8")]
    return "\n".join(out)


def line(case: str, row: dict[str, Any]) -> str:
    """One row of the table; what was not measured stays empty."""
    if "failed" in row and "seconds" not in row:
        return f"| {case} | {row['name']} | failed: {row['failed'].replace('|', '/')} | | | | | {row.get('note', '')} |"
    cells = [f"{row['seconds']:.3g} ({row['low']:.3g} to {row['high']:.3g})", f"{row['to floor']:.2f}"]
    cells.append(f"{row['ours to this']:.2f}" if "ours to this" in row and row["name"] != OURS else "")
    cells += [f"{row['MiB']:.0f}" if "MiB" in row else "failed: " + row.get("failed", "").replace("|", "/")]
    cells += [f"{row['difference']:.1e}" if "difference" in row else "", row.get("note", "")]
    return f"| {case} | {row['name']} | " + " | ".join(cells) + " |"
