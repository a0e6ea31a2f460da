"""Which kinds of result can be kept in a file and opened again, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid import methods
from pellucid.concepts import saved as concepts
from pellucid.core import saved
from pellucid.core.archive import Archive, undamaged, unpacked
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.shown import Shown
from pellucid.dream import dream as dreams
from pellucid.dream.dream import Dream
from pellucid.dream.evolution import Evolution
from pellucid.dream.excited import saved_patches
from pellucid.dream.filters import Filters
from pellucid.dream.maps import saved as over_samples
from pellucid.dream.patches import Patches


@dataclass(frozen=True, slots=True)
class Keeper:
    """One kind of result: its class, its file's content, and what an archive holds of it."""

    of: type[Shown]
    to_bytes: Callable[[Any], bytes]
    back: Callable[[Archive, str | Path], Shown]


KEEPERS: Mapping[str, Keeper] = {
    saved.KIND: Keeper(
        Explanation, saved.to_bytes, lambda archive, path: saved.explanation_of(archive, path, methods.all_methods())
    ),
    saved_patches.KIND: Keeper(Patches, saved_patches.to_bytes, saved_patches.patches_of),
    saved_patches.EVOLUTION: Keeper(Evolution, saved_patches.evolution_to_bytes, saved_patches.evolution_of),
    saved_patches.FILTERS: Keeper(Filters, saved_patches.filters_to_bytes, saved_patches.filters_of),
    dreams.KIND: Keeper(Dream, dreams.to_bytes, lambda archive, _: dreams.dream_of(archive)),
    **{kind: Keeper(of, over_samples.to_bytes, over_samples.result_of) for kind, of in over_samples.KINDS.items()},
    **{
        kind: Keeper(of, concepts.to_bytes, lambda archive, _: concepts.found_of(archive))
        for kind, of in concepts.KINDS.items()
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
