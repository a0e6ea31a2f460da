"""Where a picture comes from and how to make it again: what a reader needs to check it, without any path or name of
a person or a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pellucid.core.explanation import Explanation
from pellucid.core.target import Target
from pellucid.views.number import count, number, percent, seconds
from pellucid.views.view import Stack, Table, Text, View

_LONG = (
    "tokens",
    "columns",
    "player values",
    "falls",
    "standard errors",
    "interactions",
    "kept back by operation",
)  # facts that the map itself shows, or too long


def method_title(explanation: Explanation) -> str:
    """The method's name as people write it: "Grad-CAM"."""
    title = getattr(explanation.again, "title", "")
    return title if isinstance(title, str) and title else explanation.method.replace("_", " ")


def option_text(value: object) -> str:
    """An option's or a fact's value in words; of a tensor only its shape."""
    if isinstance(value, Tensor):
        return f"a tensor of {'×'.join(map(str, value.shape)) or 'one number'}"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {option_text(v)}" for k, v in value.items())
    if isinstance(value, list) and value and all(isinstance(v, float) for v in value):
        return ", ".join(map(number, value))
    return (value or "empty") if isinstance(value, str) else str(value)


def provenance(explanation: Explanation) -> Table:
    """Everything that made the picture what it is, as a table."""
    e = explanation
    rows: list[tuple[str, str]] = [("method", f"{method_title(e)} ({e.method})")]
    paper = getattr(e.again, "paper", "")
    if isinstance(paper, str) and paper:
        rows.append(("paper", paper))
    rows += [
        ("what is explained", e.target),
        ("by the value at", f"{e.at}, {'×'.join(map(str, e.inner[e.at].shape))}" if e.at else ""),
        ("options", ", ".join(f"{k} = {option_text(v)}" for k, v in e.options.items()) or "none"),
        ("network", e.network),
        ("network's fingerprint", e.fingerprint),
        ("inputs", "; ".join(f"{k}: {'×'.join(map(str, v.shape))}" for k, v in e.x.items())),
        ("preparation", _preparation(e)),
        ("seed", str(e.seed)),
        ("passes", f"{count(e.cost.forwards, 'sample')} forward, {number(float(e.cost.backwards))} backward"),
        ("time", seconds(e.cost.seconds)),
        *((str(k).replace("_", " "), option_text(v)) for k, v in e.facts.items() if k not in _LONG),
        ("versions", ", ".join(f"{k} {v}" for k, v in e.versions.items())),
    ]
    if e.gap is not None:
        rows.append(("values miss the change of the score by", ", ".join(percent(g) for g in e.gap[:8])))
    if e.stopped:
        rows.append(("stopped", e.stopped))
    return Table(("", ""), tuple((k, v) for k, v in rows if v))


def _preparation(explanation: Explanation) -> str:
    p = explanation.net.preparation if explanation.net is not None else None
    if p is None:
        return ""
    means, stds = (", ".join(number(v) for v in values) for values in (p.mean, p.std))
    whole = "squeezed to a square of" if p.squeezed else "short side to"
    cut = f"{whole} {round(p.size / p.crop)}, central {p.size}×{p.size} ({p.interpolation})"
    return f"{cut}; minus ({means}), over ({stds}); {p.source}"


_BRIGHT = "Bright marks where the map is strong. Its values have no sign."
_STEEP = "They are slopes: how much a small change there would move the score, not what that part contributed."
_COLORS = {  # by: has it a sign?  are they slopes?
    (True, False): "Red marks what raised the score, blue what lowered it; the neutral color is zero.",
    (True, True): "Red marks where larger values would raise the score, blue where they would lower it; the neutral "
    f"color is zero. {_STEEP} Tests of the map therefore take their size.",
    (False, False): _BRIGHT,
    (False, True): f"{_BRIGHT} {_STEEP}",
}


def how_to_read(explanation: Explanation) -> View:
    """What the colors mean, and what they do not."""
    e = explanation
    parts = [
        _COLORS[e.signed, e.slopes],
        "The map describes this network on this input. It does not say that the network is right, and not what would "
        "happen had the input been another.",
    ]
    if e.resolution is not None:
        size = f"{e.resolution[0]}×{e.resolution[1]}"
        parts.append(f"The method sees {size} places only; what looks finer was filled in between them.")
    parts.append("Other methods may show other maps: compare them, and believe the one that passes its tests.")
    about = getattr(e.again, "summary", "")
    first = (Text(f"{method_title(e)}: {_plain(about)}"),) if isinstance(about, str) and about else ()
    return Stack((*first, *(Text(part) for part in parts)))


def _plain(summary: str) -> str:
    """A docstring's first line for people: without code marks, and without the shape after the colon."""
    words, shape, _ = summary.replace("`", "").partition(": [")
    return words + "." if shape else words


def python_again(explanation: Explanation) -> str:
    """Python that makes this figure again.

    A network that was opened by name is opened by it; for any other, a line says what to put there.
    """
    e = explanation
    public = e.source and not any(sign in e.source for sign in "/\\")  # A path would tell whose machine this was.
    opened = f"pl.open({e.source!r})" if public else "pl.open(...)  # your network"
    readable = e.net is not None and e.net.preparation is not None and any(v.ndim == 4 for v in e.x.values())
    read = "net.read(...)  # your picture" if readable else "...  # your input"
    arguments = [
        "net",
        "x",
        target_code(e.of),
        *((f"at={e.at!r}",) if e.at else ()),
        *(f"{k}={_code(v)}" for k, v in _changed(e).items()),
    ]
    return "\n".join(
        (
            "import pellucid as pl",
            "",
            f"net = {opened}",
            f"x = {read}",
            f"with pl.running(pl.Run(seed={e.seed})):",
            f"    why = pl.methods.{e.method}({', '.join(arguments)})",
            'why.save("why.html")',
        )
    )


def _changed(explanation: Explanation) -> Mapping[str, Any]:
    """The options that are not the method's defaults; all of them where these are not known."""
    known = {o.name: o.default for o in getattr(explanation.again, "options", ())}
    return {k: v for k, v in explanation.options.items() if k not in known or not _same(known[k], v)}


def _same(a: object, b: object) -> bool:
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b


def _code(value: object) -> str:
    return "..." if isinstance(value, Tensor) else repr(value)


def target_code(of: Target) -> str:
    """A target as Python: `pl.logit(281) - pl.logit(282)`; what cannot be written as code becomes `...`."""
    out = ""
    for i, term in enumerate(of.terms):
        sign = ("-" if term.weight < 0 else "") if i == 0 else (" - " if term.weight < 0 else " + ")
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight)!r} * "
        out += f"{sign}{weight}pl.{term.kind}({', '.join(_argument(a) for a in term.args)})"
    return out


def _argument(value: object) -> str:
    if isinstance(value, int | float | str | bool | tuple) or value is None:
        return repr(value)
    path = getattr(value, "path", None)
    return repr(str(value)) if isinstance(path, str) else "..."
