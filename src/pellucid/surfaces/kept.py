"""Which kinds of result can be kept in a file and opened again, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pellucid import methods
from pellucid.concepts.between import Between
from pellucid.concepts.found import Concepts
from pellucid.concepts.groups import Groups
from pellucid.concepts.references import References
from pellucid.concepts.relevance import Relevance
from pellucid.concepts.tested import Tcav
from pellucid.core import by_field, saved
from pellucid.core.archive import Archive, undamaged, unpacked
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.shown import Shown
from pellucid.dream import dream as dreams
from pellucid.dream.atlas import Atlas
from pellucid.dream.circuits import Expansion
from pellucid.dream.dream import Dream
from pellucid.dream.embedding import Embedding
from pellucid.dream.evolution import Evolution
from pellucid.dream.excited import saved_patches
from pellucid.dream.filters import Filters
from pellucid.dream.grid import ActivationGrid
from pellucid.dream.patches import Patches


@dataclass(frozen=True, slots=True)
class Keeper:
    """One kind of result: its class, its file's content, and what an archive holds of it."""

    of: type[Shown]
    to_bytes: Callable[[Any], bytes]
    back: Callable[[Archive, str | Path], Shown]


CONCEPTS: Mapping[str, type[Shown]] = {
    "concepts": Concepts, "tested concepts": Tcav, "relevance of channels": Relevance, "reference samples": References,
    "groups of channels": Groups, "one site made of another": Between,
}  # fmt: skip
BY_FIELD: Mapping[str, type[Shown]] = {
    **CONCEPTS, "embedding": Embedding, "atlas": Atlas, "activation grid": ActivationGrid,
    "expanded weights": Expansion, "filters": Filters,
}  # fmt: skip
KEEPERS: Mapping[str, Keeper] = {
    saved.KIND: Keeper(
        Explanation, saved.to_bytes, lambda archive, path: saved.explanation_of(archive, path, methods.all_methods())
    ),
    saved_patches.KIND: Keeper(Patches, saved_patches.to_bytes, saved_patches.patches_of),
    saved_patches.EVOLUTION: Keeper(Evolution, saved_patches.evolution_to_bytes, saved_patches.evolution_of),
    dreams.KIND: Keeper(Dream, dreams.to_bytes, lambda archive, _: dreams.dream_of(archive)),
    **{
        kind: Keeper(of, partial(by_field.to_bytes, kind), partial(by_field.of_archive, of))
        for kind, of in BY_FIELD.items()
    },
}
BY_CLASS: Mapping[type[Shown], Keeper] = {keeper.of: keeper for keeper in KEEPERS.values()}


def load(path: str | Path) -> Any:
    """A result that was saved as a `.pellucid` file: an explanation, a dream, whatever it is.

    It comes without its network: `explanation.rerun(net)`, `pl.dream.resume(dream, net)`.  Raises `BadInput` when the
    file is not one, or was written by a newer version.

    >>> import tempfile, torch, pellucid as pl
    >>> e = pl.methods.saliency(torch.nn.Linear(2, 1), torch.ones(1, 2), 0)
    >>> pl.load(e.save(Path(tempfile.mkdtemp()) / "why.pellucid")).method
    'saliency'
    """
    archive = unpacked(path)
    keeper = KEEPERS.get(archive.kind)
    if keeper is None:
        raise BadInput(f"{Path(path).name} holds a {archive.kind}, unknown to this version.", "Update Pellucid.")
    with undamaged(path):
        return keeper.back(archive, path)
