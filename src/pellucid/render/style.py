"""The style sheet of pages and fragments: every rule stays inside `.pellucid`, so that none leaks into a notebook."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pellucid.render.marks import DARK, LIGHT, Role
from pellucid.render.svg import FONTS


def _variables(colors: dict[Role, str]) -> str:
    named = "".join(f"--{role}:{color};" for role, color in colors.items())
    return f".pellucid{{{named}}}"


@cache
def sheet() -> str:
    """The rules for both themes; the colors are the ones that pictures use."""
    rules = files("pellucid.render").joinpath("report.css").read_text("utf-8").replace("FONTS", FONTS)
    roles = "".join(
        f".pellucid .f-{role}{{fill:var(--{role})}}.pellucid .s-{role}{{stroke:var(--{role})}}" for role in LIGHT
    )
    dark = "@media screen and (prefers-color-scheme: dark){" + _variables(DARK) + "}"
    return "\n".join((_variables(LIGHT), dark, roles, rules))
