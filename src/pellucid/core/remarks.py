"""What has to be said beside an explanation: of the network, of its names, of the input, and of an empty map."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.core.misfit import unlike_size
from pellucid.core.network import Network
from pellucid.core.tensors import Tensors


def remarks(net: Network, x: Tensors, maps: Tensors) -> tuple[str, ...]:
    """Every sentence that belongs beside the maps of an input."""
    notes = [*net.notes, *_of_names(net), *filter(None, (unlike_size(net.model, x),))]
    if net.preparation is not None:
        notes.extend(filter(None, (net.preparation.unlike(v) for v in x.values() if v.ndim == 4)))
    if all(not bool(v.any()) for v in maps.values()):
        notes.append("The map is zero everywhere: the method found no evidence.")
    if getattr(net.model, "training", False):  # frozen scripts have one mode
        notes.append("The model was in training mode; a copy in evaluation mode was explained.")
    if net.borrowed_because:
        notes.append(f"The model was borrowed and put back as it was, because {net.borrowed_because}.")
    if len(net.dtypes) > 1:
        kinds = ", ".join(str(d).removeprefix("torch.") for d in net.dtypes)
        notes.append(f"The model mixes number formats: {kinds}.")
    return tuple(notes)


def _of_names(net: Network) -> Iterator[str]:
    """How two names of one score are read, or that the names cannot all be right."""
    if net.negative:
        yield (
            f"There are two names for one score, which says how far it speaks for the second: {net.labels[0]!r} where "
            f"it is high, {net.negative!r} where it is low."
        )
    elif net.names and net.head is not None and len(net.names) != net.head.scores:
        classes = "1 class" if net.head.scores == 1 else f"{net.head.scores} classes"
        yield f"{len(net.names)} labels were given for {classes}: the names may be those of others."
