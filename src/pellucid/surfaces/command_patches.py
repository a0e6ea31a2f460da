"""The commands that show what parts of a network look for.  Heavy imports stand inside the functions."""

from __future__ import annotations

from typing import Annotated

from pellucid.core.errors import BadOption
from pellucid.core.option import Range
from pellucid.surfaces.deliver import deliver, numbers, place_of
from pellucid.surfaces.model_options import ARCHITECTURE_HELP, PREPARATION_HELP, TRUST_FILE_HELP, stated


def patches(
    folder: Annotated[str, "the folder with the pictures"],
    *,
    model: Annotated[str, "a network that pellucid.open knows, or a file"] = "efficientnet_lite0",
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    at: Annotated[str | None, "the site to look at: a module's path, such as blocks.4"] = None,
    channels: Annotated[str, "which channels: numbers and ranges, such as 0-15,32"] = "0-15",
    count: Annotated[int, Range(1, 100), "patches of each channel"] = 9,
    bottom: Annotated[int, Range(0, 100), "weakest patches of each channel"] = 0,
    most: Annotated[int | None, Range(1, 10_000_000), "look at that many pictures at most"] = None,
    plain: Annotated[bool, "only the patches, without what in them excited the channel"] = False,
    output: Annotated[str | None, "the file to write: .html, .png, .svg, .json or .pellucid"] = None,
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, "print the result as JSON, for scripts"] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Show what excites channels: their strongest patches in a folder of pictures, and what in them does it.

    Writes a contact sheet, patches.html in the current folder, and opens it when there is a display.
    """
    from pellucid.doors.open import open as open_network
    from pellucid.doors.pictures.folder import pictures
    from pellucid.dream.patches import Patches
    from pellucid.dream.patches import patches as patches_
    from pellucid.dream.patterns import patterns
    from pellucid.surfaces.progress import watched

    place, chosen = place_of(output or "patches.html", folder, Patches), numbers(channels)
    net = open_network(stated(model, architecture, preparation, trust_file))
    if not at:
        near = ", ".join(str(s) for s in net.sites if str(s).count(".") < 2)
        raise BadOption("Which site was not said.", f"Give one with --at: {near}, or a module inside them.")
    with watched(seed=seed, quiet=quiet or json):
        data = pictures(net, folder, most)
        found = patches_(net, data, at, chosen, count=count, bottom=bottom)
        if not plain and not found.stopped:
            found = patterns(net, data, found)
        return deliver(found, place, as_json=json, quiet=quiet)
