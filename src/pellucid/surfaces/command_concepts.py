"""The `pellucid concepts` command: what a network has in common for the pictures of a class."""

from __future__ import annotations

from typing import Annotated

from pellucid.surfaces.model_options import ARCHITECTURE_HELP, LABELS_HELP, PREPARATION_HELP, TRUST_FILE_HELP, stated


def concepts(
    folder: Annotated[str, "a folder with a dozen pictures of the class, or more"],
    *,
    target: Annotated[str, "the class: its number or (part of) its name"],
    model: Annotated[str, "a network that pellucid.open knows"] = "efficientnet_lite0",
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    labels: Annotated[str | None, LABELS_HELP] = None,
    at: Annotated[str | None, "a module without negative values, as behind a ReLU; empty: the last one"] = None,
    count: Annotated[int, "how many concepts"] = 10,
    most: Annotated[int | None, "use this many of the pictures, the first by name"] = None,
    output: Annotated[str, "the file to write: .html, .png, .svg, .json or .pellucid"] = "concepts.html",
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, "print the result as JSON, for scripts"] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Concepts: what does the network see in the pictures of a class?

    Finds a few directions that crops of the pictures have in common (CRAFT), ranks them by what the score owes to them,
    and says how far they can be trusted.  Ctrl-C keeps the pictures that are finished.
    """
    from pellucid.concepts.craft import craft
    from pellucid.concepts.found import Concepts
    from pellucid.core.errors import BadOption
    from pellucid.doors.open import open as open_network
    from pellucid.doors.pictures.folder import pictures
    from pellucid.surfaces.deliver import deliver
    from pellucid.surfaces.progress import watched
    from pellucid.surfaces.show import check_place

    if most is not None and most < 1:
        raise BadOption(f"--most {most}: expected at least 1.")
    place = check_place(output, Concepts)
    with watched(seed=seed, quiet=quiet or json):
        net = open_network(stated(model, architecture, preparation, trust_file, labels))
        found = craft(net, pictures(net, folder, most), target, at or None, concepts=count)
        return deliver(found, place, as_json=json, quiet=quiet)
