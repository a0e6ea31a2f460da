"""The `pellucid dream` command: what parts of a network look for, or see in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pellucid.core.errors import BadOption

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.target import Target
    from pellucid.dream.dream import Dream

MOST = 256  # pictures of one command
WITH_A_PICTURE = ("invert", "caricature", "style", "nudge", "deepdream", "fool")


def numbers(text: str, what: str = "channels") -> list[int]:
    """The numbers that a list such as "0-3,7" names, in order, each once; raises `BadOption` for anything else.

    >>> numbers("0-3,7")
    [0, 1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 20:
            raise BadOption(f"--{what} {text!r}: {part!r} is no number.", "Write 0-15, or 3,7,12.")
        stop = int(last or first) + 1
        if stop <= int(first) or stop - int(first) > MOST:
            raise BadOption(f"--{what} {text!r}: {part!r} is no range of up to {MOST}.", "Write 0-15, or 3,7,12.")
        found += range(int(first), stop)
    found = list(dict.fromkeys(found))
    if len(found) > MOST:
        raise BadOption(f"--{what} {text!r}: {len(found)} were asked for; {MOST} at most.")
    return found


def dream(
    *,
    model: Annotated[str, "a network that pellucid.open knows"] = "efficientnet_lite0",
    at: Annotated[
        str | None, "the site (a module's path) whose channels are dreamed, or that looks at a picture"
    ] = None,
    channels: Annotated[str | None, "channels of that site, such as 0-15 or 3,7"] = None,
    target: Annotated[str | None, "classes by number or name, with semicolons between them"] = None,
    picture: Annotated[str | None, "a picture to begin with, for what=invert, caricature, deepdream, nudge..."] = None,
    what: Annotated[
        Literal["maximize", "invert", "caricature", "style", "nudge", "deepdream", "fool"], "the kind of dream"
    ] = "maximize",
    resume: Annotated[str | None, "a dream in a .pellucid file to go on with"] = None,
    size: Annotated[int | None, "the side of the picture in pixels; empty: the network's"] = None,
    option: Annotated[tuple[str, ...], "a knob of the recipe as name=value; may be repeated"] = (),
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
    from pellucid.surfaces.show import check_place

    knobs, asked = knobs_given(option), [t.strip() for t in (target or "").split(";") if t.strip()]
    chosen = numbers(channels) if channels else []
    _refuse(what, at, chosen, asked, picture, resume)
    from pellucid.dream.dream import Dream
    from pellucid.dream.recipe import cooked

    place = check_place(output, Dream)
    cooked(None, knobs)  # refused now, and not after the network was opened
    with watched(seed=seed, quiet=quiet or json):
        if resume:
            found = _gone_on(resume, model, knobs)
        else:
            found = _dreamed(model, what, at, chosen, asked, picture, size, knobs)
        return deliver(found, place, as_json=json, quiet=quiet)


def _refuse(
    what: str, at: str | None, chosen: list[int], asked: list[str], picture: str | None, resume: str | None
) -> None:
    """Raise `BadOption` for what cannot be meant, before anything is opened."""
    if resume:
        return
    if what in WITH_A_PICTURE and not picture:
        raise BadOption(f"--what {what} begins with a picture; none was given.", "Add --picture FILE.")
    if chosen and not at:
        raise BadOption("--channels were given without --at.", "Add --at SITE, a module's path.")
    if what in ("maximize", "nudge", "fool") and not (asked or chosen):
        raise BadOption("Nothing was asked for.", "Give --at SITE --channels 0-15, or --target CLASS.")
    if what in ("invert", "caricature", "style", "deepdream") and not at:
        raise BadOption(f"--what {what} needs the site that looks at the picture.", "Add --at SITE, a module's path.")


def _gone_on(file: str, model: str, knobs: dict[str, Any]) -> Dream:
    from pellucid.core.errors import BadInput
    from pellucid.doors.open import open as open_network
    from pellucid.dream.dream import Dream
    from pellucid.dream.maximize import resume
    from pellucid.surfaces.kept import load

    before = load(file)
    if not isinstance(before, Dream):
        raise BadInput(f"'{file}' holds no dream.", "Give a file that pellucid dream -o NAME.pellucid wrote.")
    return resume(before, open_network(before.source or model), steps=int(knobs.get("steps", 96)))


def _dreamed(
    model: str, what: str, at: str | None, chosen: list[int], asked: list[str], picture: str | None,
    size: int | None, knobs: dict[str, Any],
) -> Dream:  # fmt: skip
    from pellucid import dream as dreams
    from pellucid.core.target import channel, logit
    from pellucid.doors.open import open as open_network

    net = open_network(model)
    targets: list[Target] = [channel(at or "", i) for i in chosen] or [logit(name).named(net) for name in asked]
    if what == "maximize":
        begins = None if picture is None else _begins(net, picture)
        return dreams.maximize(net, targets, size=size, begins=begins, **knobs)
    x = net.read(picture)
    if what in ("nudge", "fool"):
        return (dreams.nudge if what == "nudge" else dreams.fool)(net, x, targets[0], **knobs)
    if what == "style":
        return dreams.style(net, x, (at or "").split(","), **knobs)
    if what == "deepdream":
        return dreams.deepdream(net, x, targets[0] if chosen else (at or ""), **knobs)
    return (dreams.invert if what == "invert" else dreams.caricature)(net, x, at or "", **knobs)


def _begins(net: Network, picture: str) -> Any:
    from pellucid.dream.canvas import canvas_of

    return canvas_of(net).drawn(net.read(picture))
