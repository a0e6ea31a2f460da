"""Delivery of a map: as a file, as text or as facts.  Imports no torch, and what draws pictures only for a picture."""

from __future__ import annotations

import sys
from pathlib import Path

from pellucid.architecture.architecture import Architecture
from pellucid.render.graph import page
from pellucid.render.listing import listing
from pellucid.render.terminal import terminal
from pellucid.render.write import write
from pellucid.surfaces.deliver import DRAW, print_json, print_text, width, written
from pellucid.surfaces.map_facts import map_facts


def deliver_map(found: Architecture, output: Path | None, *, as_json: bool, quiet: bool, text: str = "") -> int:
    """Write a map where a place is given, and print it.

    `text` is its JSON text where that is known already: of a page without what lies over the graph, which it works out.
    """
    if output:
        data = plain_file(found, output.suffix.lower(), text)
        output = found.save(output) if data is None else write(output, data)
    if as_json:
        print_json({**({"written": str(output)} if output else {}), **map_facts(found)})
        return 0
    print_text(terminal(listing(found, width()), width=width(), color=sys.stdout.isatty()))
    if output:
        written(output, quiet=quiet)
    else:
        print_text(f"\n{DRAW}")
    return 0


def plain_file(found: Architecture, ending: str, text: str = "") -> bytes | None:
    """The map as a file of this kind that is no picture: a page that moves, JSON or DOT; None for the others."""
    if ending == ".html" and page.built() is not None:
        title = f"The map of {found.graph.name or 'A network'} (Pellucid)"
        return page.page(text or found.folded().text, title).encode()
    if ending == ".json":
        return found.text.encode()
    if ending == ".dot":
        from pellucid.render.dot import dot  # its colors are arrays

        return dot(found.graph).encode()
    return None
