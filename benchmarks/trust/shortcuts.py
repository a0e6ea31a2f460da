"""The tables of the two parts that other packages plant: the stamp of imagenet-w, the motifs of torch-geometric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.trust.tables import num, table
from benchmarks.trust.verdicts import WORDS

Known = dict[str, Any]


def section(known: Known) -> Iterator[str]:
    """What was measured of them."""
    if "stamp" in known:
        yield from _stamp(known["stamp"])
    if "motifs" in known:
        yield from _motifs(known["motifs"])


def _stamp(found: Known) -> Iterator[str]:
    yield "### The watermark shortcut of ImageNet\n"
    yield 'Photographs stamped by `imagenet-w` (Li et al. 2023), at its usual place: what that does to "carton". Seen:'
    yield "the log-odds rise by 2 or more, so the odds 7 times or more.\n"
    rows = [
        [name, f"{v['rise']:.1f} ({v['least']:.1f} to {v['most']:.1f})", f"{v['over']} of {v['pictures']}",
         *(f"{rank:.0f}" for rank in v["rank"]), v["first"], v["other"]]
        for name, v in found["seen"].items()
    ]  # fmt: skip
    head = ("network", "rise of the log-odds", "seen in", "median rank before", "after", "carton first")
    yield from table((*head, "another class first than before"), rows)
    for name, v in found["cards"].items():
        yield f"**{name[0].upper() + name[1:]}**, EfficientNet-Lite0, the stamp high, in the middle or low in turns and"
        yield f"seen in all {v['pictures']} (log-odds up by {v['rise']:.1f} on average; carton is the first class in"
        yield f"{v['first']}). Explained: carton. Inside: the share of the map's positive values in the box around the"
        yield f"stamp, which covers {v['box']:.1%}.\n"
        rows = [
            [kind, what, *(words.get(w, 0) for w in WORDS), num(v["r"][what]), num(v["inside"][what])]
            for kind, what, words in v["matrix"]
        ]
        yield from table(("maps", "which", *WORDS, "mean r", "inside"), rows)
        yield from _tail(v)


def _motifs(found: Known) -> Iterator[str]:
    yield "### Motifs in graphs\n"
    yield "Random trees with a house of five nodes or a ring of six joined to them (torch-geometric), houses explained"
    right = " / ".join(f"{v:.1%}" for v in found["accuracy"])
    yield f"by edge (about {found['edges']:.0f} a graph). Learned: networks of three seeds in turns, trained to tell"
    yield f"the two apart (right in {right} of new graphs); the truth is the motif's edges, which they"
    yield "need not use alone. Wired: a network that counts triangles by its construction; the truth is the house's"
    yield "only one. A guess by busy nodes (the product of both ends' numbers of edges) is given to the card; the last"
    yield "column is without it.\n"
    for name, v in found["cards"].items():
        yield f"**{name.capitalize()}**, {v['pictures']} houses. Without the edges of the truth the log-odds fall by"
        yield f"{v['drops']['truth']:.1f}, without as many others by {v['drops']['as many others']:.1f}.\n"
        before = [words.get("Supported", 0) for *_, words in v["without the guess"]]
        rows = [
            [kind, what, *(words.get(w, 0) for w in WORDS), num(v["r"][what]), without]
            for (kind, what, words), without in zip(v["matrix"], before, strict=True)
        ]
        yield from table(("maps", "which", *WORDS, "mean r", "Supported without the guess"), rows)
        yield from _tail(v)


def _tail(found: Known) -> Iterator[str]:
    tau, maps = found["tau"], sum(sum(words.values()) for *_, words in found["matrix"])
    yield f"Tau-b of graded maps: {tau['64']:.2f} at 64 probes, {tau['128']:.2f} at 128 (.926 is the most)."
    yield "".join(
        f"Can't tell, {n} of {maps} maps: {said[0].lower() + said[1:]}.\n" for said, n in found["reasons"].items()
    )
