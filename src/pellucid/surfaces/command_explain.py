"""The commands that explain a picture: with one method, or with all that apply side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pellucid.core.errors import BadOption
from pellucid.surfaces.deliver import deliver, place_of
from pellucid.surfaces.model_options import (
    ARCHITECTURE_HELP,
    FRAME_HELP,
    LABELS_HELP,
    MODEL_HELP,
    PREPARATION_HELP,
    TRUST_FILE_HELP,
    WINDOW_HELP,
    chosen,
    stated,
)

MODEL = "efficientnet_lite0"
_TARGET_HELP = "what to explain: a class's number or (part of) its name; empty: the top class"
_AT_HELP = "an inner site (a module's path) whose value is explained in the place of the picture"
_TRUST_HELP = "how much testing the map is worth: quick (64 masked copies), standard or thorough (up to 1024)"
_JSON_HELP = "print the result as JSON, for scripts"


def explain(
    image: Annotated[str, "the picture to explain"],
    *,
    model: Annotated[str, MODEL_HELP] = MODEL,
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    labels: Annotated[str | None, LABELS_HELP] = None,
    frame: Annotated[int | None, FRAME_HELP] = None,
    window: Annotated[str | None, WINDOW_HELP] = None,
    target: Annotated[str | None, _TARGET_HELP] = None,
    method: Annotated[str | None, "an attribution method (pellucid methods); empty: the most faithful of a few"] = None,
    at: Annotated[str | None, _AT_HELP] = None,
    option: Annotated[tuple[str, ...], "an option of the method as name=value; may be repeated"] = (),
    trust: Annotated[Literal["quick", "standard", "thorough"], _TRUST_HELP] = "standard",
    measure: Annotated[str | None, "more measures of the map, with commas between them (pellucid checks)"] = None,
    output: Annotated[str | None, "the file to write: .html, .png, .svg, .json or .pellucid"] = None,
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, _JSON_HELP] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Explain a picture: what the network saw, where the evidence was, and how far to trust the map.

    Writes a report, IMAGE.why.html in the current folder, and opens it when there is a display.
    """
    from pellucid import methods
    from pellucid.checks.card import trust_card
    from pellucid.core.explanation import Explanation
    from pellucid.surfaces.explain import explain as explain_
    from pellucid.surfaces.progress import watched

    options, more = _options(option, method or None, methods.all_methods()), _measures(measure)
    place = place_of(output or f"{_stem(image)}.why.html", image, Explanation)
    with watched(seed=seed, quiet=quiet or json):
        net = stated(model, architecture, preparation, trust_file, labels)
        x = chosen(image, frame, window)
        e = explain_(net, x, target or None, method=method or None, at=at or None, options=options, trust=trust)
        e = e.with_checks((*e.checks, *trust_card(e, which=more))) if more else e
        return deliver(e, place, as_json=json, quiet=quiet)


def compare(
    image: Annotated[str, "the picture to explain"],
    *,
    model: Annotated[str, MODEL_HELP] = MODEL,
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    labels: Annotated[str | None, LABELS_HELP] = None,
    frame: Annotated[int | None, FRAME_HELP] = None,
    window: Annotated[str | None, WINDOW_HELP] = None,
    target: Annotated[str | None, _TARGET_HELP] = None,
    methods: Annotated[str | None, "names of methods with commas between them; empty: all that apply"] = None,
    at: Annotated[str | None, _AT_HELP] = None,
    trust: Annotated[Literal["quick", "standard", "thorough"], _TRUST_HELP] = "standard",
    output: Annotated[str | None, "the file to write: .html, .png, .svg or .json"] = None,
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, _JSON_HELP] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Compare methods on a picture: which one should I believe on this network?

    All methods that apply, side by side, ranked by faithfulness measured on the same masked copies.
    """
    from pellucid.surfaces.explain import Comparison
    from pellucid.surfaces.explain import compare as compare_
    from pellucid.surfaces.progress import watched

    place = place_of(output or f"{_stem(image)}.compare.html", image, Comparison)
    names = [name for part in (methods or "").split(",") if (name := part.strip())]
    with watched(seed=seed, quiet=quiet or json):
        net = stated(model, architecture, preparation, trust_file, labels)
        x = chosen(image, frame, window)
        found = compare_(net, x, target or None, methods=names or None, at=at or None, trust=trust)
        return deliver(found, place, as_json=json, quiet=quiet)


def _options(given: tuple[str, ...], method: str | None, known: dict[str, Any]) -> dict[str, Any]:
    """`name=value` texts by the method's own declarations; raises `BadOption` before anything is run."""
    if method is not None and method not in known:
        raise BadOption(f"There is no method {method!r}.", f"Methods: {', '.join(known)}.")
    if given and method is None:
        raise BadOption(
            f"--option {given[0]} was given without --method.", "Name the method that the option belongs to."
        )
    options = {o.name: o for o in known[method].options} if method else {}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadOption(
                f"--option {text!r}: expected name=value.", f"{method} has: {', '.join(options) or 'no options'}."
            )
        if name not in options:
            raise BadOption(f"{method} has no option {name!r}.", f"It has: {', '.join(options) or 'none'}.")
        found[name] = options[name].parse(value)
    return found


def _measures(names: str | None) -> list[str]:
    """The measures that are named; raises `BadOption` before anything is run when there is none of that name."""
    if not names:
        return []
    from pellucid.checks import all_checks

    known, asked = all_checks(), [name for part in names.split(",") if (name := part.strip())]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise BadOption(f"There is no measure {unknown[0]!r}.", f"Measures: {', '.join(known)}.")
    return asked


def _stem(image: str) -> str:
    return Path(image).stem or "picture"
