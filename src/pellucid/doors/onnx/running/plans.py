"""In which slots values lie while a block runs, when each is let go, and where nodes stand that do not say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One call in a plan: which child, in which of its plans, from and into which slots, and what is done with then."""

    child: str
    call: int
    takes: tuple[int, ...]  # -1: nothing
    gives: tuple[int, ...]  # -1: not wanted
    frees: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a block runs: its inputs are the first slots; each value is let go after its last use."""

    inputs: int
    slots: int
    steps: tuple[Step, ...]
    results: tuple[int, ...]


def plan(
    inputs: int, slots: dict[str, int], steps: Sequence[tuple[str, int, list[str], list[str]]], outputs: Sequence[str]
) -> Plan:
    """A block's plan: each step with its child, the child's plan, what it takes and gives; a slot for every value."""
    last: dict[str, int] = {}
    for i, (_, _, takes, gives) in enumerate(steps):
        last.update(dict.fromkeys(takes, i))
        last.update((name, i) for name in gives if name and name not in last)
    for name in outputs:
        last.pop(name, None)
    frees: list[list[int]] = [[] for _ in steps]
    for name, i in last.items():
        frees[i].append(slots[name])
    planned = [
        Step(
            child,
            call,
            tuple(slots[name] for name in takes),
            tuple(slots[name] if name else -1 for name in gives),
            tuple(free),
        )
        for (child, call, takes, gives), free in zip(steps, frees, strict=True)
    ]
    return Plan(inputs, len(slots), tuple(planned), tuple(slots[name] for name in outputs))


def filled_in(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Nodes that do not say where they stood stand where both their neighbors do."""
    after: list[tuple[str, ...]] = [()] * len(paths)
    for i in range(len(paths) - 1, -1, -1):
        after[i] = paths[i] or (after[i + 1] if i + 1 < len(paths) else ())
    found: list[tuple[str, ...]] = []
    for i, path in enumerate(paths):
        before = found[-1] if found else ()
        same = 0
        while same < min(len(before), len(after[i])) and before[same] == after[i][same]:
            same += 1
        found.append(path or before[:same])
    return found
