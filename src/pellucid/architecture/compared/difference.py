"""How two networks differ: in structure, in their weights, and in what they make of the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.alignment import Alignment, align
from pellucid.architecture.compared.folding import Repeats, repeats
from pellucid.architecture.compared.similarity import FEWEST, table
from pellucid.architecture.compared.weight_change import WeightChange, stored_change, weight_change
from pellucid.architecture.given import Given
from pellucid.architecture.graph import Graph
from pellucid.architecture.map import Mappable
from pellucid.architecture.map import map as map_
from pellucid.architecture.stored import is_file_of_weights, of_listing
from pellucid.architecture.tree import output_nodes
from pellucid.core.answer import ask
from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.names import named_weights
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.tensors import Inputs, Tensors, as_tensors
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.reading import reading
from pellucid.doors.weight_files.entries import Entry, Listing
from pellucid.doors.weight_files.listing import listed

MOST_SITES, BATCH = 24, 32


@dataclass(frozen=True, slots=True, eq=False)
class Difference(Shown):
    """What differs from network `a` to network `b`.

    `parts` aligns their modules; `weights` compares those that both have, the most changed first.  `similarity` is the
    linear CKA of the values at `sites_a` (rows) with those at `sites_b` (columns) on the given inputs; empty without.
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

    @property
    def folded(self) -> Repeats:
        """What differs, once where it repeats from block to block; what holds the most parameters first."""
        return repeats(self.parts, self.a.graph, self.b.graph)


def map_difference(a: Mappable, b: Mappable, x: Given | str | Path | None = None) -> Difference:
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
    x = reading(left, x).x if isinstance(x, str | Path) else x
    of_a, of_b = (map_(net, _structure(x)) for net in (left, right))
    parts = align(of_a.graph, of_b.graph)
    weights = sorted(_weights(left, right, parts), key=_by_change)
    notes, found, size = [], None, 0
    if x is not None and _has_numbers(x):
        given = as_tensors(x, left.inputs)
        size = len(next(iter(given.values())))
        if size >= FEWEST:
            found = _similar(left, right, of_a, of_b, given, as_tensors(x, right.inputs))
        else:
            notes.append(f"Activations were not compared: {were_given(size, 'sample')}, at least {FEWEST} are needed.")
    if found is None:
        return Difference(of_a, of_b, parts, tuple(weights), notes=tuple(notes))
    return Difference(of_a, of_b, parts, tuple(weights), *found, size, tuple(notes))


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


def _structure(x: Given | None) -> Given | None:
    """The shapes alone: a map with activations is not asked for."""
    if isinstance(x, Tensor):
        return tuple(x[:1].shape) if x.is_floating_point() else x[:1]
    if isinstance(x, Mapping):
        return {k: v[:1] if isinstance(v, Tensor) else v for k, v in x.items()}
    return x


def _has_numbers(x: Given) -> TypeGuard[Inputs]:
    values: Sequence[object] = [x] if isinstance(x, Tensor) else list(x.values() if isinstance(x, Mapping) else x)
    return all(isinstance(v, Tensor) and not v.is_meta for v in values)


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


Similar = tuple[tuple[str, ...], tuple[str, ...], Tensor]


def _similar(a: Network, b: Network, of_a: Architecture, of_b: Architecture, x: Tensors, y: Tensors) -> Similar | None:
    """CKA between the outputs of modules, over batches of samples."""
    sites = [_sites(of_a, a), _sites(of_b, b)]
    if not all(sites):
        return None
    size = len(next(iter(x.values())))
    starts = [i for i in range(0, size, BATCH) if size - i >= FEWEST or i == 0]
    with a.lease() as one, b.lease() as two, torch.no_grad():

        def batches() -> Iterator[tuple[list[Tensor], list[Tensor]]]:
            for i in starts:
                found = []
                for net, model, given, at in ((a, one, x, sites[0]), (b, two, y, sites[1])):
                    part = {k: v[i : i + BATCH] for k, v in given.items()}
                    answer = ask(net, model, part, sites=at)
                    found.append([answer.at[site] for site in at])
                yield found[0], found[1]

        values = table(batches())
    return tuple(map(str, sites[0])), tuple(map(str, sites[1])), values


def _sites(found: Architecture, net: Network) -> list[Site]:
    """The modules whose outputs are compared: outermost ones first, as many as fit a picture, in order of running."""
    holders = {path for path, module in net.model.named_modules() if type(module) is nn.Module}  # these never run
    graph = found.graph
    if not len(graph.edges):
        return []
    batch = next((s[:1] for s, f in zip(graph.nodes.shape, graph.nodes.family, strict=True) if f == "io" and s), None)
    depths, last = graph.depths, output_nodes(graph)
    kept: list[int] = []
    for depth in range(1, max(depths, default=0) + 1):
        level = [g for g in range(1, len(graph.groups)) if depths[g] == depth and graph.groups.path[g] not in holders]
        level = [g for g in level if _keeps_samples(graph, last[g], batch)]
        if kept and len(kept) + len(level) > MOST_SITES:
            break
        kept += level
    return [Site.parse(graph.site_of(g)) for g in sorted(kept)][: 2 * MOST_SITES]


def _keeps_samples(graph: Graph, node: int | None, batch: tuple[int | str, ...] | None) -> bool:
    if node is None or batch is None:
        return False
    return "float" in graph.nodes.dtype[node] and (graph.nodes.shape[node] or ())[:1] == batch
