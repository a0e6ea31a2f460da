"""Options are declared once, in a signature: `steps: Annotated[int, Range(1, 1024), "points on the path"] = 32`.

The command line, `pellucid methods`, the report's table and the error sentences all read that declaration.
"""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pellucid.core.errors import BadOption

_CONVERTED = (bool, int, float, str)  # everything else (a tensor) is taken as it is


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and the largest allowed value, both included."""

    low: float
    high: float


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword-only parameter of a method or a command: name, type, default, limits and what it does."""

    name: str
    type: type
    default: Any
    doc: str
    range: Range | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False

    @property
    def expected(self) -> str:
        """What a value must look like, with the name of its type."""
        return self._looks(self.type.__name__, "")

    @property
    def wanted(self) -> str:
        """The same in words, for whoever may not know Python."""
        return self._looks(_WORDS.get(self.type, self.type.__name__), ",")

    def _looks(self, kind: str, comma: str) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        limits = f" from {self.range.low:g} to {self.range.high:g}" if self.range else ""
        return f"{kind}{limits}" + (f"{comma} or none" if self.optional else "")

    def check(self, value: Any) -> Any:
        """The value, converted where nothing is lost; `BadOption` says what was given and what was expected."""
        if value is None and self.optional:
            return None
        if not (self._right_type(value) and self._in_limits(value)):
            raise BadOption(f"{self.name}={value!r}: expected {self.wanted}.", f"{self.name} is: {self.doc}.")
        return self._converted(value) if self.type in _CONVERTED else value

    def _converted(self, value: Any) -> Any:
        return self.type(value)

    def _right_type(self, value: object) -> bool:
        if isinstance(value, bool) and self.type is not bool:
            return False
        return isinstance(value, self.type) or (self.type is float and isinstance(value, int))

    def _in_limits(self, value: Any) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if self.choices and value not in self.choices:
            return False
        return self.range is None or self.range.low <= value <= self.range.high

    def parse(self, text: str) -> Any:
        """A value written as text (`--option steps=64`), by the declared type."""
        if self.optional and text.lower() in ("", "none"):
            return None
        if self.type is str:
            return self.check(text)
        try:
            return self.check(json.loads(text.lower()))
        except json.JSONDecodeError:
            raise BadOption(f"{self.name}={text!r}: expected {self.wanted}.", f"{self.name} is: {self.doc}.") from None


def options_of(function: Callable[..., object], among: Collection[str] | None = None) -> tuple[Option, ...]:
    """The options that a function declares: its keyword-only parameters, in order; or those `among` some names."""
    hints = get_type_hints(function, include_extras=True)
    keyword_only = (p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)
    wanted = (p for p in keyword_only if among is None or p.name in among)
    return tuple(option_of(p.name, hints[p.name], p.default) for p in wanted)


def option_of(name: str, hint: Any, default: Any) -> Option:
    """One option from its annotation: `Annotated[type, Range(...), "what it does"]`."""
    extras: tuple[Any, ...] = ()
    if hasattr(hint, "__metadata__"):
        extras, hint = hint.__metadata__, hint.__origin__
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        optional = True
        (hint,) = (a for a in get_args(hint) if a is not type(None))
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    limits = next((e for e in extras if isinstance(e, Range)), None)
    doc = next((e for e in extras if isinstance(e, str)), "")
    return Option(name, str if choices else hint, default, doc, limits, choices, optional)


def checked(options: Iterable[Option], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Every option's value: what was given, checked, or else its default.  Unknown names are refused."""
    known = {o.name: o for o in options}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise BadOption(f"{owner} has no option {unknown[0]!r}.", f"Its options: {', '.join(known) or 'none'}.")
    return {name: o.check(given[name]) if name in given else o.default for name, o in known.items()}
