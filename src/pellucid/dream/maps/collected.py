"""Results over many samples: how they are read, and where what is found comes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from torch import nn

from pellucid.core.errors import BadInput
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.origin import Origin, origin_of
from pellucid.core.run import Meter, current, running
from pellucid.core.samples import Collection, Samples
from pellucid.core.site import Site
from pellucid.doors.pictures.folder import pictures

Data: TypeAlias = Samples | str | Path
_MOST_NOTES = 5


Spent: TypeAlias = Callable[..., Origin]


@contextmanager
def metered(net: Network, at: str, data: Collection | None = None) -> Iterator[Spent]:
    """Count what the block spends; the function that it is given makes the result's origin when all is done."""
    outer, since = current().meter, time.monotonic()
    with running(replace(current(), meter=Meter())) as run:

        def origin(samples: int, stopped: str = "", notes: tuple[str, ...] = ()) -> Origin:
            skipped = tuple((data.skipped if data is not None else {}).values())
            return origin_of(
                net, at, since, notes, samples=samples, unread=len(skipped), skipped=skipped[:_MOST_NOTES],
                stopped=stopped,
            )  # fmt: skip

        try:
            yield origin
        finally:
            outer.add(run.meter)


def opened(net: Network | nn.Module) -> Network:
    """The network itself, or one made of a module."""
    return net if isinstance(net, Network) else Network(net)


def collected(net: Network, data: Data, most: int | None = None) -> Collection:
    """Samples, or the pictures of a folder that is named, as the network reads them; the first `most` of them."""
    if isinstance(data, str | Path):
        return Collection(net, pictures(net, data, most))
    return Collection(net, data if most is None else _First(data, most))


@dataclass(frozen=True, slots=True)
class _First:
    """The first samples of many, under their own names."""

    data: Samples
    most: int

    def __len__(self) -> int:
        return min(len(self.data), self.most)

    def __getitem__(self, i: int) -> object:
        return self.data[i]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(getattr(self.data, "names", ()))[: self.most]


def site_of(net: Network, at: Site | str) -> Site:
    """The site that is named; raises `BadInput`, with near misses, when the network has no such module."""
    site = at if isinstance(at, Site) else Site.parse(at)
    known = [p for p in module_paths(net.model) if p]
    if site.path and site.path not in known:
        close = [p for p in known if p in site.path or site.path in p][:5] or known[:5]
        raise BadInput(f"There is no module at {str(site)!r}.", f"Modules there are: {', '.join(close)} ...")
    return site
