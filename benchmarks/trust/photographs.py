"""EfficientNet-Lite0 on labelled photographs: the average card of every method.

What each method got on each photograph is kept in photographs.json here as it comes, a line a method, with a digest of
the package's code: a run that was stopped goes on, and what was found by this very code is left alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean, mode
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.harness import replace
from benchmarks.trust.every_method import BACKGROUND, DEAR, OPTIONS, said
from benchmarks.trust.rig import ROOT, generator, photographs
from benchmarks.trust.verdicts import WORDS, correlations
from pellucid.checks import stability
from pellucid.checks.faithfulness import score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.trials.agreement import interval, resamples, spearman
from pellucid.trials.layout import layout_of
from pellucid.trials.probed import ProbeSet, probe_set
from pellucid.trials.unlearned import unlearned

STORE = Path(__file__).with_name("photographs.json")
PROBES = 128
MOST = 40  # photographs there are
FIRST = 8  # photographs for the dear methods
FEW = 2  # photographs on which the methods are run again, for stability and for random weights
AGAIN = 32  # passes up to which they are: eight explanations more are minutes for a flag
GUESSES = "guesses"  # kept like a method
AGAINST = "grad_cam"  # whose r is taken from everyone's, photograph by photograph
Row = dict[str, Any]


@cache
def lite0() -> Network:
    """The network that comes with the package."""
    return pl.open("efficientnet_lite0")


@cache
def recognized(count: int, sure: float = 0.0) -> tuple[Tensor, Tensor]:
    """The first `count` labelled photographs that the network names rightly, with their classes; sides of 224."""
    ids = (ROOT / "tests" / "corpus" / "imagenet_wordnet_ids.txt").read_text(encoding="utf-8").split()
    net, known, classes = lite0(), list[Tensor](), list[int]()
    for path in photographs():
        label = next((i for i, name in enumerate(ids) if path.name.startswith(name)), None)
        if label is None:
            continue
        x = net.read(str(path))
        v = next(iter(x.values())) if isinstance(x, dict) else x
        with torch.no_grad():
            likely = net.model(v).softmax(1)[0]
        if int(likely.argmax()) == label and float(likely[label]) >= sure:
            known.append(v)
            classes.append(label)
        if len(known) == count:
            break
    return torch.cat(known), torch.tensor(classes)


def cards(count: int, only: str = "") -> dict[str, Any]:
    """The card of every method, averaged over photographs; intervals by bootstrap over the photographs.

    With `only`, the methods whose name contains it are run anew, and no others.
    """
    count = min(count, MOST)
    known: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    known = {name: known[name] for name in (GUESSES, *OPTIONS) if name in known}
    code = digest()
    for name in (n for n in (GUESSES, *OPTIONS) if only in n):
        asked = said(name) if name in OPTIONS else name
        if only or name not in known or (known[name]["asked"], known[name]["code"]) != (asked, code):
            known[name] = {"asked": asked, "code": code, "rows": []}
    for i in range(count):
        for name in (n for n in known if only in n and not (n in DEAR and i >= FIRST)):
            if len(known[name]["rows"]) == i:
                known[name]["rows"].append(guessed(i) if name == GUESSES else card(name, i))
                keep(known)
        sys.stdout.write(f"  photograph {i + 1} of {count}\n")
        sys.stdout.flush()
    return averages({name: found["rows"][:count] for name, found in known.items()})


def keep(known: dict[str, Any]) -> None:
    """Write everything that is known so far, a line a method."""
    lines = (f"{json.dumps(name)}: {json.dumps(known[name])}" for name in (GUESSES, *OPTIONS) if name in known)
    replace(STORE, "{\n" + ",\n".join(lines) + "\n}\n")


def digest() -> str:
    """Short for the package's code: other code may find other maps."""
    found = hashlib.blake2b(digest_size=6)
    for path in sorted((ROOT / "src" / "pellucid").rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


@lru_cache(maxsize=1)
def probed(i: int) -> ProbeSet:
    """Masked copies of a photograph: one set serves every method."""
    x, classes = recognized(MOST)
    (found,) = probe_set(Score(lite0(), pl.logit(int(classes[i]))), {lite0().inputs[0]: x[i : i + 1]}, PROBES)
    return found


@cache
def random_weights() -> Network:
    """The network as it was before it learned."""
    return unlearned(lite0(), {lite0().inputs[0]: recognized(MOST)[0][:16]}, 1)


def guessed(i: int) -> Row:
    """What there is to compare with on a photograph: the two guesses, the ceiling; and how much was removed."""
    since = time.process_time()
    probe = probed(i)
    guesses = {name: rounded(score_map(m, probe).r) for name, m in probe.guesses}
    told = {"r": max(guesses.values()), "ceiling": rounded(probe.ceiling), "left": rounded(probe.ratio)}
    return {**guesses, **told, "area": probe.area, "spent": rounded(time.process_time() - since)}


def card(name: str, i: int) -> Row:
    """What a method got on a photograph."""
    (x, classes), probe = recognized(MOST), probed(i)
    others = x.roll(-1 - i, 0)[:BACKGROUND]
    options = {**OPTIONS[name], **({"background": others} if name == "deep_shap" else {})}
    since = time.process_time()
    e = getattr(pl.methods, name)(lite0(), x[i : i + 1], pl.logit(int(classes[i])), **options)
    seconds, passes = time.process_time() - since, e.cost.forwards + e.cost.backwards
    found = score_map(layout_of(e.net, e.x).map_of(e)[0], probe)
    row: Row = {"r": rounded(found.r), "word": found.word, "seconds": rounded(seconds), "passes": passes}
    row["size"] = rounded(float(correlations(e.values.double().abs().sum(1), probe)[0]))
    row["gap"] = rounded(e.gap[0]) if e.gap else None
    if i < FEW and passes <= AGAIN:
        again = e.rerun(net=random_weights())
        row["stable"] = rounded(stability(e).value)
        row["random weights"] = rounded(spearman(*(v.values.abs().flatten().double() for v in (e, again))))
    return {**row, "spent": rounded(time.process_time() - since)}


def rounded(v: float) -> float:
    """Four digits behind the point: what is kept is read by people too."""
    return round(float(v), 4)


def spread(key: str, values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with a bootstrap interval of 95 %."""
    known = torch.tensor([v for v in values if math.isfinite(v)], dtype=torch.double)
    if not len(known):
        return math.nan, math.nan, math.nan
    return float(known.mean()), *interval(known[resamples(2000, len(known), generator("spread", key))].mean(1))


def averages(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """The figures of the table."""
    guesses = rows.pop(GUESSES)
    columns = {k: [g[k] for g in guesses] for k in ("edges", "center", "ceiling", "left", "area")}
    areas = columns.pop("area")
    few = mode(len(rows.get(name, guesses)) for name in DEAR)
    compared = {**columns, AGAINST: [r["r"] for r in rows[AGAINST]]}
    return {
        "pictures": len(guesses), "probes": PROBES, "few": min(FEW, len(guesses)), "again": AGAIN,
        "methods": {name: averaged(name, of, rows[AGAINST]) for name, of in rows.items()},
        **{k: spread(k, v) for k, v in columns.items()},
        "first": {"pictures": few} | {k: fmean(v[:few]) for k, v in compared.items()},
        "areas": {f"{a:.0%}": areas.count(a) for a in sorted(set(areas))},
        "seconds": sum(r["spent"] for of in (guesses, *rows.values()) for r in of),
    }  # fmt: skip


def averaged(name: str, rows: list[Row], against: list[Row]) -> dict[str, Any]:
    """A method's row of the table."""
    gaps = [r["gap"] for r in rows if r["gap"] is not None]
    return {
        "asked": said(name), "pictures": len(rows), "family": pl.methods.all_methods()[name].family,
        **{k: spread(name, [r[k] for r in rows if k in r]) for k in ("r", "size", "stable", "random weights")},
        "ahead": spread(name, [a["r"] - b["r"] for a, b in zip(rows, against, strict=False)]),
        "words": {w: sum(r["word"] == w for r in rows) for w in WORDS},
        "gap": fmean(gaps) if gaps else None,
        "passes": fmean(r["passes"] for r in rows), "seconds": fmean(r["seconds"] for r in rows),
    }  # fmt: skip
