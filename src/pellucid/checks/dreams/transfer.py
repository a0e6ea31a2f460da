"""Does another network of the same task read the same class?  What only one network sees is about that network."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.core.network import Network
from pellucid.dream.dream import Dream
from pellucid.trials.readers import Reading, class_of, readings, usual_readers
from pellucid.trials.route import network_of

TOP = 5  # of a thousand classes; of fewer, at most a tenth


@dream_measure(
    title="Reading by other networks",
    paper="Mahendran, Vedaldi 2016, arXiv:1512.02017; Nguyen et al. 2015, arXiv:1412.1897",
    cost="one forward pass for each picture and network",
    place=3,
)
def transfer(dream: Dream, *, others: Sequence[Network] | None = None) -> tuple[Check, ...]:
    """The probability that other networks give the dreamed class, on average.

    `others` are networks of the same task; classes are matched by name, and pictures prepared as each wants them.
    Without any, trained networks with the same class names are taken where they are installed.  HOLDS when at least
    half of them put the class first, FAILS when none has it among its first five.  For one class only: a dream of an
    inner unit is UNKNOWN, for no other network has that unit.
    """
    missing = ""
    if others is None:
        others, missing = usual_readers(network_of(dream))
    read = [readings(dream, other) for other in others] if any(class_of(t) is not None for t in dream.targets) else []
    found = list[Check]()
    for i, target in enumerate(dream.targets):
        mine = [r for one in read if (r := one[i]) is not None]
        if class_of(target) is None:
            found.append(not_made("It was dreamed for an inner unit or a mixture, which no other network has."))
        elif not mine:
            none = "None of the other networks has a class of that name." if others else "No other network was asked."
            found.append(not_made(missing or none))
        else:
            found.append(_one(mine))
    return tuple(found)


def _one(read: list[Reading]) -> Check:
    value = sum(r.probability for r in read) / len(read)
    first = sum(r.rank == 0 for r in read)
    among = sum(r.rank < _top(r) for r in read)
    found = verdict(2 * first >= len(read), among == 0)
    named = " and ".join(f"{r.network} ({r.probability:.0%})" for r in read)
    if 2 * first >= len(read):
        why = f"Other networks read the same class from it: {first} of {len(read)} put it first. {named}."
    elif among:
        why = f"Other networks partly read the same class: {among} of {len(read)} have it near the top. {named}."
    else:
        why = f"No other network reads this class from it: {named}. The picture speaks to this one network only."
    chance = sum(1 / r.classes for r in read) / len(read)
    facts = {
        "ranks": {r.network: r.rank + 1 for r in read}, "probabilities": {r.network: r.probability for r in read},
        "first": first / len(read), "near the top": among / len(read),
    }  # fmt: skip
    return Check("transfer", value, found, why, references=(("chance", chance),), facts=facts)


def _top(r: Reading) -> int:
    return min(TOP, max(1, r.classes // 10))
