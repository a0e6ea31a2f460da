"""Well-known architectures by what their weights are called; a guess counts only when every name and shape fits."""

from __future__ import annotations

import importlib.util

from pellucid.core.errors import PellucidError
from pellucid.doors.torch.architectures import Blueprint, bare, blueprint
from pellucid.doors.torch.guesses import guesses
from pellucid.doors.torch.matched import fit
from pellucid.doors.weight_files.entries import Listing


def recognised(weights: Listing) -> tuple[Blueprint | None, tuple[str, ...]]:
    """The architecture that these weights fit to the last name and shape, or None; and the names worth a try.

    Only packages that are installed are asked.
    """
    shapes = {e.name: e.shape for e in weights.entries}
    names = guesses(shapes)
    for name in names:
        package = name.partition(":")[0]
        try:
            if importlib.util.find_spec(package) is None:
                continue
            plan = blueprint(name)
            wanted = {k: tuple(v.shape) for k, v in bare(plan).state_dict().items()}
        except (PellucidError, ValueError):
            continue
        found = fit(wanted, shapes)
        if found.whole or found.classes:
            return plan, names
    return None, names
