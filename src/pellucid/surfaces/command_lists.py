"""The commands that list what there is: methods, measures, and what is installed."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from pellucid.surfaces.deliver import print_json, print_text, width

_JSON_HELP = "print the result as JSON, for scripts"


def methods(*, json: Annotated[bool, _JSON_HELP] = False) -> int:
    """List every method with its options, paper, promises and cost."""
    from pellucid.render.terminal import terminal
    from pellucid.surfaces.told_methods import told_methods
    from pellucid.views.methods import methods_view

    if json:
        print_json([_described(m) for m in told_methods()])
    else:
        print_text(terminal(methods_view(told_methods()), width=width(), color=sys.stdout.isatty()))
    return 0


def checks(*, json: Annotated[bool, _JSON_HELP] = False) -> int:
    """List every measure of explanations with its options, paper and cost."""
    from pellucid import checks as package
    from pellucid.render.terminal import terminal
    from pellucid.views.measures import measures_view

    if json:
        print_json([_said_of(m) for m in package.all_checks().values()])
    else:
        print_text(terminal(measures_view(package.all_checks().values()), width=width(), color=sys.stdout.isatty()))
    return 0


def doctor(*, json: Annotated[bool, _JSON_HELP] = False) -> int:
    """Check the installation: versions, devices, what is missing and the command that mends it."""
    from pellucid.surfaces.doctor import examine

    findings = examine()
    if json:
        print_json([{"what": f.what, "found": f.found, "fine": f.fine, "mend": f.mend} for f in findings])
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            print_text(f"{'ok  ' if f.fine else '--  '}{f.what:<{width}}  {f.found}")
            if f.mend:
                print_text(f"      {f.mend}")
    return 0 if all(f.fine or not f.needed for f in findings) else 1


def _described(m: Any) -> dict[str, Any]:
    return {**_common(m), "promises": [p.name.lower() for p in m.promises], "signed": m.signed, "slopes": m.slopes}


def _said_of(m: Any) -> dict[str, Any]:
    return {**_common(m), "better": m.better, "on the card": bool(m.place)}


def _common(m: Any) -> dict[str, Any]:
    options = [
        {"name": o.name, "type": o.type.__name__, "default": o.default, "help": o.doc, "choices": list(o.choices),
         "range": [o.range.low, o.range.high] if o.range else None}
        for o in m.options
    ]  # fmt: skip
    return {"name": m.name, "title": m.title, "family": m.family, "summary": m.summary, "paper": m.paper,
            "cost": m.cost, "options": options}  # fmt: skip
