"""The datasets of an HDF5 file, listed in another process, because its parser is a large one in C.

Links that lead to other files or elsewhere in the file, and data that lies in other files, are refused.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.entries import ITEM, Entry, Listing, Place, refuse_claim
from pellucid.doors.worker import inspected

if TYPE_CHECKING:
    from torch import Tensor

_OPTIMIZER = ("optimizer_weights", "optimizer")  # of Keras 1 and 2, and of Keras 3


def hdf5(path: Path) -> Listing:
    """Every dataset of numbers in an HDF5 file; what an optimizer keeps beside a network's weights is left out.

    Raises `BadModel` for damaged files, for links, and for datasets that unpack to far more than they store; `Missing`
    without h5py.
    """

    def load(name: str) -> Tensor:
        import h5py
        import numpy as np
        import torch

        try:
            opened: Any = h5py.File(path, "r")
            with opened as file:
                return torch.from_numpy(np.ascontiguousarray(file[name][()]))
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            what = f"{printable(path.name)}: the numbers of {printable(name, 60)} are damaged."
            raise BadModel(what, "Copy or download it again.") from error

    entries = []
    for said in inspected("pellucid.doors.weight_files.hdf5_listing:listed", path):
        name, dtype, shape = said["name"], said["dtype"], tuple(said["shape"])
        if dtype not in ITEM:
            continue
        if said["offset"] is not None:
            place = Place(path, said["offset"], said["stored"])
            entry = Entry(name, dtype, shape, place)
            refuse_claim(path.name, entry, said["stored"])
        else:
            entry = Entry(name, dtype, shape, load=partial(load, said["path"]))
        entries.append(entry)
    kept = tuple(e for e in entries if e.name.partition("/")[0] not in _OPTIMIZER)
    if not kept or len(kept) == len(entries):
        return Listing(path, "an HDF5 file", tuple(entries))
    note = f"What an optimizer keeps was left out: {len(entries) - len(kept)} of the file's {len(entries)} tensors."
    return Listing(path, "an HDF5 file", kept, {}, (note,))
