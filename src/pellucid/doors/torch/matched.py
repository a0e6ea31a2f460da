"""A file's tensors and a network's weights laid side by side, by name and shape, before any number is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pellucid.core.counts import count
from pellucid.core.errors import BadModel
from pellucid.doors.files import printable

Shapes = Mapping[str, tuple[int, ...]]
_LAYERS_BETWEEN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # of compilation, of sharding
_SOUGHT = 2000  # names among which the closest is looked for


@dataclass(frozen=True, slots=True)
class Fit:
    """Which of the file's names goes where (`names`: wanted to found), and what does not fit.

    `wrong` are shapes that differ: (wanted name, wanted shape, found shape).  `prefix` was taken off the file's names;
    `aside` are tensors that do not bear it, and belong to something else.
    """

    names: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    prefix: str = ""
    aside: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Does everything fit?"""
        return not (self.missing or self.unexpected or self.wrong)

    @property
    def classes(self) -> int | None:
        """The number of classes in the file, when that is all that differs."""
        ends = {(wanted[:1], found[:1]) for _, wanted, found in self.wrong}
        tails = all(wanted[1:] == found[1:] and wanted for _, wanted, found in self.wrong)
        if self.missing or self.unexpected or len(self.wrong) > 4 or len(ends) != 1 or not tails:
            return None
        return next(iter(ends))[1][0]


def fit(wanted: Shapes, found: Shapes, tied: Mapping[str, str] | None = None) -> Fit:
    """The best way to give a file's tensors to a network, with or without a prefix such as `module.` or `model.`.

    `tied` names, for a weight that has several names, another one of them.

    >>> fit({"a.weight": (2, 3)}, {"module.a.weight": (2, 3), "step": ()}).names
    {'a.weight': 'module.a.weight'}
    """
    plain = {_without_layers(name): name for name in found}
    best = max(
        _prefixes(wanted, plain), key=lambda p: (_score(wanted, found, _given(plain, p)), -len(p[0]) - len(p[1]))
    )
    given = _given(plain, best)
    names = {w: given[w] for w in wanted if w in given}
    for name, twin in (tied or {}).items():
        if name not in names and twin in names:
            names[name] = names[twin]
    counters = {w for w in wanted if w.endswith("num_batches_tracked")}  # older files do without
    wrong = tuple((w, wanted[w], found[f]) for w, f in names.items() if wanted[w] != found[f])
    missing = tuple(w for w in wanted if w not in names and w not in counters)
    used = set(names.values())
    rest = [f for f in found if f not in used]
    aside = tuple(f for f in rest if best[0] and not _without_layers(f).startswith(best[0]))
    unexpected = tuple(f for f in rest if f not in set(aside) and not f.endswith("num_batches_tracked"))
    return Fit(names, missing, unexpected, wrong, best[0], aside)


def _without_layers(name: str) -> str:
    for layer in _LAYERS_BETWEEN:
        name = name.replace(layer, "")
    return name


def _prefixes(wanted: Shapes, plain: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs (what to take off the file's names, what to put before them) that are worth a try, the plainest first."""
    off = Counter(p for name in plain for p in _beginnings(name))
    on = Counter(p for name in wanted for p in _beginnings(name))
    likely = [p for p, n in off.most_common(40) if n >= len(wanted) // 2]
    return [("", ""), *((p, "") for p in likely), *(("", p) for p, n in on.most_common(8) if n == len(wanted))]


def _beginnings(name: str, most: int = 3) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[: i + 1]) + "." for i in range(min(most, len(parts)))]


def _given(plain: Mapping[str, str], change: tuple[str, str]) -> dict[str, str]:
    off, on = change
    return {on + name.removeprefix(off): was for name, was in plain.items() if name.startswith(off)}


def _score(wanted: Shapes, found: Shapes, given: Mapping[str, str]) -> float:
    """How many weights get a tensor of their shape; a tensor of another shape is better than none."""
    return sum(1.0 if found[given[w]] == shape else 0.1 for w, shape in wanted.items() if w in given)


def misfit(file: str, network: str, wanted: Shapes, f: Fit, part: str = "") -> BadModel:
    """The error that says what is missing, what is left over, and which shapes differ: the first ones, and how many.

    `part`: the next step for a file that is one of several.
    """
    said = []
    if f.missing:
        near = get_close_matches(f.missing[0], list(f.unexpected)[:_SOUGHT], 1, 0.5)
        closest = f"; the closest in the file: {printable(near[0], 60)}" if near else ""
        verb = "is" if len(f.missing) == 1 else "are"
        said.append(f"{len(f.missing)} of {count(len(wanted), 'weight')} {verb} missing ({_first(f.missing)}{closest})")
    if f.unexpected:
        said.append(f"{count(len(f.unexpected), 'tensor has', 'tensors have')} no place ({_first(f.unexpected)})")
    if f.wrong:
        name, want, have = f.wrong[0]
        shapes = f"{printable(name, 60)}: needs {shape_text(want)}, the file has {shape_text(have)}"
        said.append(f"{count(len(f.wrong), 'has', 'have')} another shape ({shapes})")
    return BadModel(
        f"{printable(file, 60)} does not fit {printable(network, 60)}: {'; '.join(said)}.",
        part.strip() or "Give the architecture that the file was saved from: pl.open(path, architecture=...).",
    )


def _first(names: Iterable[str], most: int = 2) -> str:
    names = list(names)
    return ", ".join(printable(n, 60) for n in names[:most]) + (", ..." if len(names) > most else "")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> shape_text((64, 3, 7, 7)), shape_text(())
    ('64x3x7x7', 'a number')
    """
    return "x".join(map(str, shape)) or "a number"
