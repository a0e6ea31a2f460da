"""The methods that there are, as a table for `pellucid methods` and the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from pellucid.core.option import Option
from pellucid.views.view import Fold, Heading, Stack, Table, Text, View


@runtime_checkable
class Listed(Protocol):
    """What a list says of a method: the method itself says it, or what was written down of it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def cost(self) -> str: ...
    @property
    def promises(self) -> Iterable[Any]: ...
    @property
    def signed(self) -> bool: ...
    @property
    def slopes(self) -> bool: ...
    @property
    def options(self) -> tuple[Option, ...]: ...


def methods_view(found: Iterable[Listed]) -> View:
    """All methods, by family: what each shows and costs, what it promises, its options and its paper."""
    families: dict[str, list[Listed]] = {}
    for m in sorted(found, key=lambda m: (m.family, m.name)):
        families.setdefault(m.family, []).append(m)
    parts: list[View] = [Heading("Methods", 1)]
    for family, members in families.items():
        parts += [Heading(family.capitalize(), 2), *(_entry(m) for m in members)]
    return Stack(tuple(parts))


def _entry(m: Listed) -> View:
    promises = ", ".join(str(p.name).lower().replace("_", " ") for p in m.promises) or "nothing"
    facts = f"Cost: {plain(m.cost)}. Promises: {promises}. {m.paper}."
    options = tuple((o.name, default_of(o), o.expected, o.doc) for o in m.options)
    table = (Table(("option", "default", "expected", "what it is"), options),) if options else ()
    return Stack((Heading(m.name, 3), Text(plain(m.summary)), Text(facts, "quiet"), *table))


def method_view(m: Listed) -> View:
    """One method with its options."""
    rows = tuple((o.name, default_of(o), o.expected, o.doc) for o in m.options)
    options: View = Table(("option", "default", "expected", "what it is"), rows) if rows else Text("It has no options.")
    sign = _sign(m)
    return Stack(
        (
            Heading(m.title, 1),
            Text(plain(m.summary)),
            Text(f"{sign} Cost: {m.cost}.", "quiet"),
            options,
            Fold("Paper", Text(m.paper), open=True),
        )
    )


def _sign(m: Listed) -> str:
    if m.slopes:
        return "Values are slopes" + (
            ": their sign says which way to change the input." if m.signed else ", without sign."
        )
    return "Positive values raise the score, negative ones lower it." if m.signed else "Values have no sign."


def default_of(option: Option) -> str:
    """An option's default, for a reader."""
    value = option.default
    return "none" if value is None else repr(value) if isinstance(value, str) else str(value)


def plain(summary: str) -> str:
    """A summary without the marks of code."""
    return summary.replace("`", "")
