"""The `pellucid atlas` command: a folder of pictures as a network sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pellucid.core.errors import BadModel
from pellucid.core.option import Range
from pellucid.surfaces.model_options import ARCHITECTURE_HELP, PREPARATION_HELP, TRUST_FILE_HELP, stated

if TYPE_CHECKING:
    from pellucid.core.network import Network
    from pellucid.core.shown import Shown


def atlas(
    folder: Annotated[str, "the folder of pictures, with those below it"],
    *,
    model: Annotated[str, "a network that pellucid.open knows"] = "efficientnet_lite0",
    architecture: Annotated[str | None, ARCHITECTURE_HELP] = None,
    preparation: Annotated[str | None, PREPARATION_HELP] = None,
    trust_file: Annotated[str | None, TRUST_FILE_HELP] = None,
    at: Annotated[str | None, "the site: a module's path; empty: the last one that keeps places apart"] = None,
    of: Annotated[Literal["places", "pictures"], "lay out places within the pictures, or whole pictures"] = "places",
    how: Annotated[Literal["pca", "tsne", "umap"], "how the map is made; t-SNE and UMAP need pellucid[embed]"] = "pca",
    grid: Annotated[int, Range(2, 128), "cells along each side (places only)"] = 16,
    dreams: Annotated[bool, "dream of each cell too (places only; minutes)"] = False,
    most: Annotated[int | None, Range(4, 10_000_000), "how many of the pictures to take; empty: all"] = None,
    output: Annotated[str | None, "the file to write: .html, .png, .svg, .json or .pellucid"] = None,
    seed: Annotated[int, "seed of everything random"] = 0,
    json: Annotated[bool, "print the result as JSON, for scripts"] = False,
    quiet: Annotated[bool, "no progress, no opening of the result"] = False,
) -> int:
    """Lay out a folder of pictures as a network sees it: what lies together is alike for it, and how far to trust that.

    Writes a report, FOLDER.atlas.html in the current folder, and opens it when there is a display.
    """
    from pellucid.doors.open import open as open_
    from pellucid.dream.atlas import Atlas
    from pellucid.dream.atlas import atlas as atlas_
    from pellucid.dream.embedding import Embedding, embedding
    from pellucid.dream.maps.icons import illustrate
    from pellucid.dream.maps.reduce import refuse_missing
    from pellucid.surfaces.deliver import deliver
    from pellucid.surfaces.progress import watched
    from pellucid.surfaces.show import check_place

    refuse_missing(how)
    kind: type[Shown] = Atlas if of == "places" else Embedding
    place = check_place(output or f"{Path(folder).resolve().name or 'pictures'}.atlas.html", kind)
    with watched(seed=seed, quiet=quiet or json):
        net = open_(stated(model, architecture, preparation, trust_file))
        site = at or _last_map(net)
        if of == "pictures":
            return deliver(embedding(net, folder, site, how=how, most=most), place, as_json=json, quiet=quiet)
        found = atlas_(net, folder, site, how=how, grid=grid, most=most)
        return deliver(illustrate(found, net) if dreams else found, place, as_json=json, quiet=quiet)


def _last_map(net: Network) -> str:
    """The last site that keeps the places of a picture apart; raises `BadModel` where none does or it is not known."""
    import torch

    from pellucid.surfaces.explain import record

    p = net.preparation
    site = None if p is None else record(net, torch.zeros(1, p.channels, p.size, p.size)).last_spatial
    if site is None:
        raise BadModel(f"No site of {net.name} is known to keep places apart.", "Name one: --at SITE.")
    return str(site)
