"""Which method to use when none was named: several race on shared probes, and the most faithful one here wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pellucid.checks.card import Trust, budget_of
from pellucid.checks.faithfulness import Word, score_map
from pellucid.checks.ranking import Standing, ranking
from pellucid.core.errors import PellucidError, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.run import current, running
from pellucid.trials.layout import score_of
from pellucid.trials.ordered import flat
from pellucid.trials.probed import BLOCK, ProbeSet, grown, probe_set

Asked = Mapping[str, Mapping[str, Any]]

_CHEAP: Asked = {"grad_cam": {}, "layer_cam": {}, "saliency": {}}
_USUAL: Asked = {**_CHEAP, "smooth_grad": {"samples": 16}, "integrated_gradients": {"steps": 32}}
# Methods of different kinds that are worth trying, by how much testing is wanted.
CANDIDATES: Mapping[Trust, Asked] = MappingProxyType(
    {
        "quick": _CHEAP,
        "standard": _USUAL,
        "thorough": {**_USUAL, "full_grad": {}, "lrp": {}, "deep_lift": {}, "occlusion": {}, "rise": {"masks": 512}},
    }
)

# For what gives no gradient and shows nothing inside: a function, a model behind an address.
BLIND: Asked = MappingProxyType({"occlusion": {}, "kernel_shap": {"samples": 256}, "feature_ablation": {}})


@dataclass(frozen=True, slots=True)
class Race:
    """How the candidates ended, the winner first; `probes` is how many masked copies told them apart.

    `fell` says after how many copies each was surely worse than the best; 0 for those that came to the end.  `word`: is
    the winner better than a guess, by these probes?  `moved`: did the score differ from one copy to another at all?
    """

    names: tuple[str, ...]
    standings: tuple[Standing, ...]
    fell: tuple[int, ...]
    probes: int
    word: Word
    moved: bool = True


def most_faithful(found: Sequence[Explanation], trust: Trust) -> Explanation:
    """The winner among explanations of one prediction, with notes on the race.

    The probes are others than the trust card's, because the best of several is partly lucky on those that chose it.
    Where the input cannot be probed, the first one is kept, and a note says so.
    """
    if len(found) == 1:
        return found[0]
    run = current()
    try:
        with running(replace(run, seed=run.seed + 1)):
            race, best = _raced(found, trust)
    except PellucidError as why:  # stopped, or an input that cannot be probed
        note = f"The first of {len(found)} methods was taken: they could not be compared. {why.what}"
        return replace(found[0], notes=(*found[0].notes, note))
    facts = {"race": [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(race)]}
    return replace(best, notes=(*best.notes, *_notes(race)), facts={**best.facts, **facts})


_COLUMNS = ("method", "r", "low", "high", "ranks", "fell after")


def _raced(found: Sequence[Explanation], trust: Trust) -> tuple[Race, Explanation]:
    """More and more probes for those that are not surely worse than the best, until one is left or the budget spent."""
    score, x, most = score_of(found[0]), found[0].explained, budget_of(trust).count
    probes = probe_set(score, x, BLOCK)
    left, fell = list(range(len(found))), dict.fromkeys(range(len(found)), 0)
    final: dict[int, Standing] = {}
    while True:
        count = len(probes[0].drops)
        maps = [list(probes[0].layout.map_of(found[i])) for i in left]
        final.update(zip(left, ranking(maps, probes), strict=True))
        fell.update({i: count for i in left if final[i].first > 1})
        left = [i for i in left if final[i].first == 1]
        if len(left) <= 1 or count >= most:
            break
        try:
            probes = tuple(grown(score, x, p, count + BLOCK) for p in probes)
        except Stopped:
            break
        if len({len(p.drops) for p in probes}) > 1 or len(probes[0].drops) == count:
            break
    order = sorted(final, key=lambda i: (-(fell[i] or most + 1), -final[i].r if final[i].r == final[i].r else 2.0))
    best = found[order[0]]
    race = Race(
        tuple(found[i].method for i in order), tuple(final[i] for i in order), tuple(fell[i] for i in order),
        len(probes[0].drops), _weakest(best, probes), not all(flat(p.drops) for p in probes),
    )  # fmt: skip
    return race, best


def _weakest(best: Explanation, probes: Sequence[ProbeSet]) -> Word:
    maps = probes[0].layout.map_of(best)
    words = {score_map(m, p).word for m, p in zip(maps, probes, strict=True)}
    order: tuple[Word, ...] = ("Not supported", "Can't tell", "Weak", "Supported")
    return next(word for word in order if word in words)


def _rows(race: Race) -> list[tuple[Any, ...]]:
    return [
        (name, s.r, s.low, s.high, f"{s.first} to {s.last}", fell or None)
        for name, s, fell in zip(race.names, race.standings, race.fell, strict=True)
    ]


def _notes(race: Race) -> list[str]:
    known = [s.r == s.r for s in race.standings]
    if not any(known):
        why = "their maps put nothing in an order" if race.moved else "the score hardly moved"
        return [
            f"{race.names[0]} was taken, the first of {len(race.names)} methods: none could be chosen by its "
            f"faithfulness, for {why} on {race.probes} masked copies."
        ]
    tried = ", ".join(
        f"{name} {s.r:.2f}" if there else f"{name} not measured"
        for name, s, there in zip(race.names, race.standings, known, strict=True)
    )
    notes = [f"Chosen as the most faithful of {len(race.names)} methods on {race.probes} masked copies (r: {tried})."]
    equal = [name for name, fell in zip(race.names[1:], race.fell[1:], strict=True) if not fell]
    if equal:
        notes.append(f"Not surely better than {' and '.join(equal)}: the copies do not tell them apart.")
    if race.word in ("Weak", "Not supported"):
        notes.append("None of the methods surely beats a guess that never asked the network: take the map as a hint.")
    return notes
