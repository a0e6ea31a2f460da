"""The tables of RESULTS.md, section Trust, made of the figures that were kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.trust import drawings, photograph_tables, published, shortcuts
from benchmarks.trust.tables import num, share, table
from benchmarks.trust.verdicts import WORDS

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "docs" / "images"
KINDS = ("true", "diluted", "a method's", "wrong")
Known = dict[str, Any]


def write(known: Known, machine: str) -> None:
    """The section, RESULTS.md with it, and the pictures of the docs."""
    harness.replace(HERE / "section.md", "\n".join(section(known, machine)) + "\n")
    store = harness.HERE / "results.json"
    others = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    harness.replace(harness.HERE / "RESULTS.md", harness.page(others))
    rigs = verdicts(known)
    if rigs:
        harness.replace(IMAGES / "trust_verdicts.svg", drawings.verdict_matrix(together(rigs), unfair(known)))
        harness.replace(IMAGES / "trust_calibration.svg", drawings.calibration(kept_by_margin(rigs)))
    if "photographs" in known:
        harness.replace(IMAGES / "trust_photographs.svg", drawings.methods(known["photographs"]))


def section(known: Known, machine: str) -> Iterator[str]:
    """Everything that was measured, a table each."""
    spent = sum(part.get("seconds", 0.0) for part in known.values())
    yield "## Trust\n"
    yield "What the trust card says of maps whose worth is known. Rerun: `python -m benchmarks.trust`; in words:"
    yield f"[docs/trust_proof.md](../docs/trust_proof.md). Measured on: {machine}; {spent:.0f} CPU seconds.\n"
    yield from _verdicts(verdicts(known))
    if "unfair" in known:
        yield from _unfair(known["unfair"])
    yield from shortcuts.section(known)
    if "third guess" in known:
        yield from _third_guess(known["third guess"])
    yield from _kept(verdicts(known))
    if "values" in known:
        yield from _values(known["values"])
    if "claims" in known:
        yield from _claims(known["claims"])
    if "photographs" in known:
        yield from photograph_tables.section(known["photographs"])


def verdicts(known: Known) -> list[Known]:
    """The planted networks' figures."""
    return [part for name, part in known.items() if name.startswith("verdicts on ")]


def unfair(known: Known) -> dict[str, Counter[str]]:
    """What was said where nothing can be told."""
    return {name: Counter(words) for name, words in known.get("unfair", {}).get("told", {}).items()}


def together(rigs: Sequence[Known]) -> dict[tuple[str, str], Counter[str]]:
    """The matrices of all networks as one, the kinds in order."""
    out: dict[tuple[str, str], Counter[str]] = {}
    for kind in KINDS:
        for rig in rigs:
            for k, what, words in rig["matrix"]:
                if k == kind:
                    out.setdefault((k, what), Counter()).update(words)
    return out


def _verdicts(rigs: list[Known]) -> Iterator[str]:
    if not rigs:
        return
    yield "### Verdicts on maps whose worth is known\n"
    yield "128 probes. `Supported` of a wrong map is a false positive; the interval is Wilson's, 95 %.\n"
    rows = ([k, what, *(words[w] for w in WORDS), share(words)] for (k, what), words in together(rigs).items())
    yield from table(("maps", "which", *WORDS, "Supported"), rows)
    yield "By network: how often `Supported`; tau-b of r with the share of truth in graded maps (.926 is the most).\n"
    lines = []
    for rig in rigs:
        by = {kind: Counter[str]() for kind in KINDS}
        for kind, _, words in rig["matrix"]:
            by[kind].update(words)
        tau = rig["tau"]
        lines.append(
            [
                rig["rig"],
                rig["about"],
                rig["pictures"],
                share(by["true"]),
                share(by["wrong"]),
                num(tau["64"]),
                num(tau["128"]),
            ]
        )
    everything = together(rigs)
    totals = [sum((w for (k, _), w in everything.items() if k == kind), Counter[str]()) for kind in ("true", "wrong")]
    taus = [num(sum(rig["tau"][n] for rig in rigs) / len(rigs)) for n in ("64", "128")]
    lines.append(["**all**", "", sum(rig["pictures"] for rig in rigs), *(f"**{share(t)}**" for t in totals), *taus])
    head = ("network", "the truth", "pictures", "true maps", "wrong maps", "tau, 64 probes", "tau, 128")
    yield from table(head, lines)
    yield "The stamp of `imagenet-w` and the motifs of torch-geometric stand below, and are not counted here.\n"


def _unfair(found: Known) -> Iterator[str]:
    yield "Where nothing can be told by masking (five maps of each picture):\n"
    rows = [[name, *(words.get(w, 0) for w in WORDS)] for name, words in found["told"].items()]
    yield from table(("network", *WORDS), rows)


def _third_guess(found: Known) -> Iterator[str]:
    yield "What the third guess beside edges and center changes, in maps called `Supported`: `unlearned`, what the same"
    yield "method (for the true mask: integrated gradients) shows on a network with random weights, in either sign."
    yield "`contrast`, where the color is unlike the mean, is a proposal that the card does not take.\n"
    rows = [
        [name, kind, part["pictures"], *by.values()]
        for name, part in found["words"].items()
        for kind, by in part["supported"].items()
    ]
    yield from table(("network", "maps", "pictures", "without", "with unlearned", "with contrast"), rows)


def kept_by_margin(rigs: Sequence[Known]) -> dict[str, list[tuple[float, float, int, int]]]:
    """The calibration curves of all networks as one, by infill."""
    out: dict[str, dict[tuple[float, float], list[int]]] = {}
    for rig in rigs:
        for infill, rows in rig["curve"].items():
            for low, high, hits, of in rows:
                both = out.setdefault(infill, {}).setdefault((low, high), [0, 0])
                both[0], both[1] = both[0] + hits, both[1] + of
    return {infill: [(*bin, *n) for bin, n in by.items()] for infill, by in out.items()}


def _kept(rigs: list[Known]) -> Iterator[str]:
    if not rigs:
        return
    yield "### Calibration\n"
    yield "Of the maps that each word was said of: how many are ahead of the better guess on 256 probes never seen.\n"
    infills = list(dict.fromkeys(i for rig in rigs for i in rig["kept"]))
    rows = []
    for word in WORDS:
        cells = []
        for infill in infills:
            pairs = [rig["kept"][infill].get(word, (0, 0)) for rig in rigs if infill in rig["kept"]]
            hits, of = (sum(p[j] for p in pairs) for j in (0, 1))
            cells.append(f"{hits} of {of}" + (f", {hits / of:.1%}" if of else ""))
        rows.append([word, *cells])
    yield from table(("said", *infills), rows)
    yield "The same by the lower end of the card's interval of r less the better guess, where p ≤ .02:\n"
    curves = kept_by_margin(rigs)
    bins = list(dict.fromkeys((row[0], row[1]) for rows_ in curves.values() for row in rows_))
    lines = []
    for low, high in bins:
        found = [next((r for r in curves[i] if (r[0], r[1]) == (low, high)), None) for i in infills]
        lines.append([f"{low:g} to {high:g}", *(f"{r[2]} of {r[3]}" if r and r[3] else "" for r in found)])
    yield from table(("margin", *infills), lines)


def _values(found: Known) -> Iterator[str]:
    yield "### The values of the notes, on a rig of our own\n"
    yield "Mean tau-b between a measure and the share of truth in 15 graded maps a picture; in brackets the notes'.\n"
    infills = list(next(iter(found["graded"].values())))
    rows = []
    for measure, by in found["graded"].items():
        before = dict(zip(published.INFILLS, published.GRADED.get(measure, ()), strict=False))
        rows.append([measure, *(f"{by[i]:.2f}" + (f" ({before[i]:.2f})" if i in before else "") for i in infills)])
    yield from table(("measure", *infills), rows)
    m = found["methods"]
    yield f"Real methods, {m['pictures']} pictures: r (128 probes), and the share of a map's top places in the glyph.\n"
    names = sorted(m["r"], key=lambda k: -m["r"][k])
    yield from table(
        ("map", "r", "notes", "top places inside"),
        [[k, num(m["r"][k]), num(published.METHODS_R.get(k)), num(m["inside"][k])] for k in names],
    )
    yield "How scores order these maps within a picture (mean Spearman with the top places inside):\n"
    order = published.METHODS_ORDER
    yield from table(("score", "ours", "notes"), [[k, num(v), num(order.get(k))] for k, v in m["spearman"].items()])
    yield "Masks of fixed and of random size (64 probes of cells), the map not centered:\n"
    fixed, loose = (m["sizes"][f"cells of {k} size, 64"] for k in ("fixed", "random"))
    rows = [[k, num(fixed[k]), num(loose[k]), " / ".join(num(v) for v in old)] for k, old in published.SIZES.items()]
    yield from table(("map", "fixed", "random", "notes"), rows)
    yield "Share of maps with p ≤ .05 under the null of shuffled pixels and under that of rolled and turned maps:\n"
    kinds = list(next(iter(found["rejected"].values())))
    rows = [
        [name, *(num(row[k]) for k in kinds), ", ".join(published.REJECTED.get(name, ("", "")))]
        for name, row in found["rejected"].items()
    ]
    yield from table(("map", *kinds, "notes: shuffled, rolled"), rows)
    yield f"Coverage of the 95 % interval (notes: {published.COVERED}) and its median width:\n"
    rows = []
    for name, by in found["coverage"].items():
        for (n, (covered, width)), old in zip(by.items(), published.WIDTHS[name], strict=True):
            rows.append([name, n, num(covered), num(width), num(old)])
    yield from table(("map", "probes", "covered", "width", "notes: width"), rows)
    low, middle, high = found["left"]
    yield f"Left of the class's probability with 30 % painted over: {low:.2f} to {high:.2f}, median {middle:.2f}"
    yield f"(notes: {published.LEFT}).\n"


def _claims(found: Known) -> Iterator[str]:
    r = found["randomized"]
    yield "### Claims about methods\n"
    yield "Random weights: rank correlation of a map with the same method's on a network that never learned; (chance:"
    yield "with another picture's map); change of entropy. The notes' network is the glyph rig of the notes.\n"
    methods = list(next(iter(r["table"].values())))
    cell = "{alike:.2f} ({chance:.2f}) {entropy:+.2f}".format
    rows = []
    for k in methods:
        old = " / ".join(num(v) or "?" for v in published.RANDOMIZED.get(k, ()))
        rows.append([k, *(cell(**by[k]) for by in r["table"].values()), old])
    yield from table(("method", *r["table"], "notes: alike / chance / entropy"), rows)
    yield "The textbook has it that the first stays the more alike; how often it does:\n"
    rows = []
    for k in r["pictures"]:
        (hits, of), (nets, all_of), (a, b) = r["pictures"][k], r["networks"][k], r["methods"][k]
        rows.append([k, f"{hits} of {of} pictures", f"{nets} of {all_of} networks", f"{a:.2f} > {b:.2f}"])
    yield from table(("more alike", "pictures", "networks", "means over networks"), rows)
    yield "Mosaics of four pictures: share of the positive evidence in the right quarter (chance .25); and the least"
    yield "share in the only quarter that reaches a network (1 = nothing leaks).\n"
    seen = found["seen quarter"]
    rows = [
        [
            k,
            num(v["glyphs"]),
            num(published.MOSAICS.get(k)),
            num(v["photographs"]),
            f"{seen[k]:.6f}" if k in seen else "",
        ]
        for k, v in found["mosaics"].items()
    ]
    yield from table(("method", "glyphs", "notes", "photographs", "only quarter"), rows)
