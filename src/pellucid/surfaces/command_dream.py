"""The `pellucid dream` command: what parts of a network look for, or see in a picture."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pellucid.core.errors import BadOption, Stopped
from pellucid.surfaces.deliver import numbers
from pellucid.surfaces.model_options import (
    ARCHITECTURE_HELP,
    FRAME_HELP,
    LABELS_HELP,
    PREPARATION_HELP,
    TRUST_FILE_HELP,
    WINDOW_HELP,
    stated,
)
from pellucid.surfaces.model_options import chosen as as_chosen

if TYPE_CHECKING:
    from pellucid.checks.card import Trust
    from pellucid.core.network import Network
    from pellucid.core.target import Target
    from pellucid.doors.pictures.picture import Picture
    from pellucid.dream.dream import Dream

USUAL = "efficientnet_lite0"
Kind: TypeAlias = Literal["maximize", "invert", "caricature", "style", "nudge", "deepdream", "fool"]
_MODEL_HELP = "a network that pellucid.open knows; empty: efficientnet_lite0, or the one of --resume"
_AT_HELP = "the site (a module's path) whose channels are dreamed, or that looks at a picture"
WITH_A_PICTURE = ("invert", "caricature", "style", "nudge", "deepdream", "fool")


def dream(
    *,
    model: Annotated[str | None, _MODEL_HELP] = None,
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    labels: Annotated[str | None, LABELS_HELP] = None,
    at: Annotated[str | None, _AT_HELP] = None,
    channels: Annotated[str | None, "channels of that site, such as 0-15 or 3,7"] = None,
    target: Annotated[str | None, "classes by number or name, with semicolons between them"] = None,
    picture: Annotated[str | None, "a picture to begin with, for what=invert, caricature, deepdream, nudge..."] = None,
    frame: Annotated[int | None, FRAME_HELP] = None,
    window: Annotated[str | None, WINDOW_HELP] = None,
    what: Annotated[Kind, "the kind of dream"] = "maximize",
    resume: Annotated[str | None, "a dream in a .pellucid file to go on with"] = None,
    size: Annotated[int | None, "the side of the picture in pixels; empty: the network's"] = None,
    option: Annotated[tuple[str, ...], "a knob of the recipe as name=value; may be repeated"] = (),
    natural: Annotated[str | None, "a folder of real pictures that the trust card compares with"] = None,
    trust: Annotated[Literal["quick", "standard", "thorough"], "how much testing the pictures are worth"] = "quick",
    output: Annotated[str, "the file to write: .html, .png, .svg, .json or .pellucid"] = "dream.html",
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, "print the result as JSON, for scripts"] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Dream: what does a part of the network look for, and what does it see in a picture?

    Channels of a site, or classes, one picture each: `--at blocks.5.2 --channels 0-15`, `--target "zebra; toucan"`.
    Ctrl-C keeps what is drawn so far; a .pellucid file can be gone on with.
    """
    from pellucid.surfaces.deliver import deliver, knobs_given
    from pellucid.surfaces.progress import watched

    _refuse_stated(model, architecture, preparation, trust_file, labels)
    knobs, asked = knobs_given(option), [t.strip() for t in (target or "").split(";") if t.strip()]
    chosen = numbers(channels) if channels else []
    _refuse(resume, what, at, chosen, asked, picture, size, knobs)
    place = _ready(output, knobs)
    with watched(seed=seed, quiet=quiet or json):
        net = stated(model, architecture, preparation, trust_file, labels) if model else None
        seen = as_chosen(picture, frame, window) if picture else None
        given = (what, at, chosen, asked, seen, size, knobs)
        found = _gone_on(resume, net, knobs) if resume else _dreamed(net or USUAL, *given)
        return deliver(_checked(found, natural, trust), place, as_json=json, quiet=quiet)


def _ready(output: str, knobs: dict[str, Any]) -> Path:
    """Where the dream goes; what cannot be written or cooked is refused now, and not after the network was opened."""
    from pellucid.dream.dream import Dream
    from pellucid.dream.recipe import cooked
    from pellucid.surfaces.show import check_place

    cooked(None, knobs)
    return check_place(output, Dream)


def _refuse_beside_resume(*given: Any) -> None:
    *others, knobs = given
    if any(others) or knobs.keys() - {"steps"}:
        raise BadOption("A dream is gone on with as it was begun.", "Only --option steps=NUMBER fits --resume.")


def _checked(found: Dream, natural: str | None, trust: Trust) -> Dream:
    """What was maximized with its card, or without it when somebody does not want to wait."""
    if found.what != "maximize" or found.stopped:
        return found
    from pellucid.surfaces.check_dream import check_dream

    with suppress(Stopped):
        return check_dream(found, natural=natural, trust=trust)
    return found


def _refuse_stated(model: str | None, *stated: str | None) -> None:
    if not model and any(stated):
        raise BadOption("Something was stated about a model, and none was given.", "Add --model FILE.")


def _refuse(
    resume: str | None, what: str, at: str | None, chosen: list[int], asked: list[str], picture: str | None,
    size: int | None, knobs: dict[str, Any],
) -> None:  # fmt: skip
    """Raise `BadOption` for what cannot be meant, before anything is opened."""
    if resume:
        return _refuse_beside_resume(at, chosen, asked, picture, size, knobs)
    if what in WITH_A_PICTURE and not picture:
        raise BadOption(f"--what {what} begins with a picture; none was given.", "Add --picture FILE.")
    if chosen and not at:
        raise BadOption("--channels were given without --at.", "Add --at SITE, a module's path.")
    if what in ("maximize", "nudge", "fool") and not (asked or chosen):
        raise BadOption("Nothing was asked for.", "Give --at SITE --channels 0-15, or --target CLASS.")
    if what in ("nudge", "fool") and len(asked) + len(chosen) > 1:
        raise BadOption(f"--what {what} takes one target; {len(asked) + len(chosen)} were given.", "Give one of them.")
    if what == "fool" and knobs.keys() - {"steps"}:
        raise BadOption("--what fool follows no recipe.", "Only --option steps=NUMBER fits it.")
    if what != "maximize" and size:
        raise BadOption(f"--what {what} keeps the picture's size.", "Leave out --size.")
    if what in ("invert", "caricature", "style") and (asked or chosen):
        raise BadOption(f"--what {what} goes by what the site holds, and has no target.", "Leave out the target.")
    if not at and (what in ("invert", "caricature", "style") or (what == "deepdream" and not asked)):
        raise BadOption(f"--what {what} needs the site that looks at the picture.", "Add --at SITE, a module's path.")


def _gone_on(file: str, model: str | Network | None, knobs: dict[str, Any]) -> Dream:
    from pellucid.core.errors import BadInput
    from pellucid.doors.open import open as open_network
    from pellucid.dream.dream import Dream
    from pellucid.dream.maximize import resume
    from pellucid.surfaces.kept import load

    before = load(file)
    if not isinstance(before, Dream):
        raise BadInput(f"'{file}' holds no dream.", "Give a file that pellucid dream -o NAME.pellucid wrote.")
    return resume(before, open_network(model or before.source or USUAL), steps=int(knobs.get("steps", 96)))


def _dreamed(
    model: str | Network, what: str, at: str | None, chosen: list[int], asked: list[str],
    picture: str | Picture | None, size: int | None, knobs: dict[str, Any],
) -> Dream:  # fmt: skip
    from pellucid import dream as dreams
    from pellucid.core.ending import named
    from pellucid.core.target import channel, logit
    from pellucid.doors.open import open as open_network

    net = open_network(model)
    targets: list[Target] = [*(channel(at or "", i) for i in chosen), *(named(logit(name), net) for name in asked)]
    if what == "maximize":
        begins = None if picture is None else _begins(net, picture, size)
        return dreams.maximize(net, targets, size=size, begins=begins, **knobs)
    x = net.read(picture)
    if what == "nudge":
        return dreams.nudge(net, x, targets[0], **knobs)
    if what == "fool":
        return dreams.fool(net, x, targets[0].as_log_odds(), **knobs)
    if what == "style":
        return dreams.style(net, x, (at or "").split(","), **knobs)
    if what == "deepdream":
        return dreams.deepdream(net, x, sum(targets[1:], targets[0]) if targets else (at or ""), **knobs)
    return (dreams.invert if what == "invert" else dreams.caricature)(net, x, at or "", **knobs)


def _begins(net: Network, picture: str | Picture, size: int | None) -> Any:
    from pellucid.dream.painting.canvas import canvas_of
    from pellucid.dream.painting.dreaming import resized

    return resized(canvas_of(net).drawn(net.read(picture)), canvas_of(net, size=size).size)
