"""How two networks differ: in structure, in their weights, and in what they make of the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.activations import activations, sites, spread
from pellucid.architecture.compared.alignment import Alignment, align
from pellucid.architecture.compared.folding import Repeats, repeats
from pellucid.architecture.compared.layerwise import LayerPair, Layerwise
from pellucid.architecture.compared.similarity import FEWEST
from pellucid.architecture.compared.together import by_layers, has_numbers, structure
from pellucid.architecture.compared.weight_change import WeightChange, stored_change, weight_change
from pellucid.architecture.given import Given
from pellucid.architecture.map import Mappable
from pellucid.architecture.map import map as map_
from pellucid.architecture.stored import is_file_of_weights, of_listing
from pellucid.core.counts import were_given
from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.names import named_weights
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.core.tensors import as_tensors
from pellucid.doors.onnx.running.module import Block
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.picture import Picture
from pellucid.doors.pictures.reading import reading
from pellucid.doors.torch.exported import Program
from pellucid.doors.weight_files.entries import Entry, Listing
from pellucid.doors.weight_files.listing import listed

_MOVED = 1e-3  # relative: farther than rounding brings weights


@dataclass(frozen=True, slots=True, eq=False)
class Difference(Shown):
    """What differs from network `a` to network `b`.

    `parts` aligns their modules; `weights` compares those that both have, the most changed first.  `similarity` is the
    linear CKA of the values at `sites_a` (rows) with those at `sites_b` (columns) on the given inputs; empty without;
    `apart` the relative difference of values at sites that belong together and have one shape.

    Where the two are written in other operations (an exported file, another framework), they were compared layer by
    layer: then `layers` are those of both, `weights` are as they are applied, with normalization folded in, and
    `parts` align layers.  `otherwise` counts layers that one writes in other operations, to the same values.
    """

    a: Architecture
    b: Architecture
    parts: Alignment
    weights: tuple[WeightChange, ...]
    sites_a: tuple[str, ...] = ()
    sites_b: tuple[str, ...] = ()
    similarity: Float[Tensor, "left right"] = field(default_factory=lambda: torch.zeros(0, 0), repr=False)
    samples: int = 0
    notes: tuple[str, ...] = ()
    layers: tuple[LayerPair, ...] = ()
    otherwise: int = 0
    apart: Mapping[tuple[str, str], float] = field(default_factory=dict, repr=False)

    @property
    def folded(self) -> Repeats:
        """What differs, once where it repeats from block to block; what holds the most parameters first."""
        return repeats(self.parts, self.a.graph, self.b.graph)


def map_difference(a: Mappable, b: Mappable, x: Given | str | Path | Picture | None = None) -> Difference:
    """Compare two networks: modules and operations, weights, and with inputs `x` (at least 4 samples) activations.

    Modules are matched by place and inside, then by inside alone (renamed), then by place alone (changed).  Weights are
    compared where both have one of the same name, or of a renamed module, and of the same shape.  Files of weights
    whose architecture is unknown are compared by the names in them.  Raises what `pl.map` raises.

    >>> from torch import nn
    >>> one, two = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> found = map_difference(one, two, (1, 2))
    >>> found.parts.same, found.parts.added
    ((('0', '0'),), ('1',))
    """
    left, right = _opened(a), _opened(b)
    if isinstance(left, Listing) or isinstance(right, Listing):
        return _by_names(_listed(a, left), _listed(b, right), x)
    x = reading(left, x).x if isinstance(x, str | Path | Picture) else x
    of_a, of_b = (map_(net, structure(net, x)) for net in (left, right))
    parts, notes = align(of_a.graph, of_b.graph), list[str]()
    found = by_layers(left, right, x) if parts.changed or parts.added or parts.removed else None
    if isinstance(found, str):
        notes.append(found)
    weights: Sequence[WeightChange] = list(_weights(left, right, parts))
    clear = found if isinstance(found, Layerwise) and _clearer(left, right, found, parts, weights) else None
    if clear is not None:
        parts, weights = clear.parts, clear.weights
    known: dict[str, Any] = {} if clear is None else {"layers": clear.pairs, "otherwise": clear.otherwise}
    if x is not None and has_numbers(x):
        given = as_tensors(x, left.inputs)
        known["samples"] = size = len(next(iter(given.values())))
        if size >= FEWEST:
            places = (sites(of_a, left), sites(of_b, right)) if clear is None else spread(clear.places)
            pairs = parts.pairs if clear is None else clear.places
            seen = activations(left, right, given, as_tensors(x, right.inputs), places, pairs)
            known |= {} if seen is None else {k: getattr(seen, k) for k in seen.__slots__}
        else:
            notes.append(f"Activations were not compared: {were_given(size, 'sample')}, at least {FEWEST} are needed.")
    return Difference(of_a, of_b, parts, tuple(sorted(weights, key=_by_change)), notes=tuple(notes), **known)


def _clearer(
    a: Network, b: Network, layers: Layerwise, parts: Alignment, weights: Sequence[WeightChange]
) -> bool:  # fmt: skip
    """Do layers tell more of how two networks differ than modules do?

    Of two in modules of their own that is so where one has normalization folded in, and its weights differ for that; of
    others where less than half as much is different.
    """
    few, many = (len(side.changed) + len(side.added) + len(side.removed) for side in (layers.parts, parts))
    if _modules_of(a) == _modules_of(b) != "operations":
        moved = sum(w.relative is None or w.relative > _MOVED for w in weights)
        return bool(layers.folded) and sum(not pair.rounded for pair in layers.pairs) < moved
    return bool(layers.folded) or 2 * few < many


def _modules_of(net: Network) -> str:
    """Whose modules a network is made of; those of a file of operations are its operations."""
    if isinstance(net.model, Block | Program | torch.jit.ScriptModule):
        return "operations"
    return "keras" if hasattr(net.model, "_flatten_layers") else "torch"


def _opened(what: Mappable) -> Network | Listing:
    """The network; of a file whose architecture is unknown, the list of its tensors."""
    if isinstance(what, Network):
        return what
    if not isinstance(what, str | Path) or not is_file_of_weights(what):
        return open_network(what)
    file = listed(what)
    try:
        return open_network(what)
    except PellucidError:
        return file


def _listed(what: Mappable, found: Network | Listing) -> Listing:
    """What a file or a network holds, as it would stand in a file."""
    if isinstance(found, Listing):
        return found
    if isinstance(what, str | Path) and is_file_of_weights(what):
        return listed(what)
    entries = (
        Entry(name, str(t.dtype)[6:], tuple(t.shape), load=t.detach().cpu)
        for name, t in named_weights(found.model).items()
    )
    return Listing(Path(found.name), "a network", tuple(entries), notes=found.notes)


def _by_names(a: Listing, b: Listing, x: object) -> Difference:
    """The difference of two files: names, shapes and numbers, one pair of tensors at a time."""
    if x is not None:
        raise BadInput("Activations cannot be compared: of one of the two no operations are known.", "Give no input.")
    of_a, of_b = of_listing(a), of_listing(b)
    parts = align(of_a.graph, of_b.graph)
    new = dict(parts.renamed)
    there = {_dotted(e.name): e for e in b.entries}
    found: list[WeightChange] = []
    packed = 0
    for e in a.entries:
        module, _, last = (name := _dotted(e.name)).rpartition(".")
        moved = new.get(name) or (f"{new[module]}.{last}" if module in new else name)
        other = there.get(moved)
        if other is None or other.shape != e.shape or not e.count:
            continue
        change = stored_change(e, other)
        packed += change is None
        found += [change] if change is not None else []
    notes = ["The files tell no operations: they were compared by the names of their tensors."]
    if packed:
        notes.append(
            f"Numbers of {count(packed, 'tensor')} are packed in ways that are not unpacked here, and not compared."
        )
    if bad := [w for w in found if w.bad]:
        notes.append(f"NaN or infinite on one side, and left out: numbers in {len(bad)} (first: {bad[0].name}).")
    found.sort(key=_by_change)
    return Difference(of_a, of_b, parts, tuple(found), notes=tuple(notes))


def _by_change(w: WeightChange) -> tuple[bool, float]:
    """For sorting: what became NaN or infinite first, then the largest change."""
    return not w.bad, -(w.relative if w.relative is not None else 1e9)


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _weights(a: Network, b: Network, parts: Alignment) -> Iterator[WeightChange]:
    """Weights that both have, by name, with the names of renamed modules translated."""
    new = {old: name for old, name in parts.renamed}
    left, right = named_weights(a.model), named_weights(b.model)
    for name, v in left.items():
        module, _, last = name.rpartition(".")
        other = f"{new[module]}.{last}".lstrip(".") if module in new else name
        w = right.get(other)
        if w is not None and w.shape == v.shape and v.is_floating_point() and v.numel():
            yield weight_change(name, other, v, w)
