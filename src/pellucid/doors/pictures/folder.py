"""A folder of pictures, each read and prepared when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.doors.pictures.reading import reading
from pellucid.doors.sniff import sniff


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures by number, prepared as the network wants them; `names` are their paths within the folder."""

    net: Network
    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Float[Tensor, "1 channels height width"]:
        return reading(self.net, str(self.folder / self.names[i])).x


def pictures(net: Network, folder: str | Path, most: int | None = None) -> Pictures:
    """Every picture in a folder and the folders below it, in the order of their names; the first `most` of them.

    Files that do not begin as a picture does are left out.  None is read whole before it is asked for.  Raises
    `BadInput` when the folder is not there or holds no picture, or the network states no preparation.

    >>> import pellucid as pl
    >>> len(pictures(pl.open("efficientnet_lite0"), "examples"))
    2
    """
    place = Path(folder)
    if net.preparation is None:
        raise BadInput(f"{net.name} does not say how pictures are prepared.", "Use pl.open(model, preparation=...).")
    if not place.is_dir():
        raise BadInput(f"There is no folder {str(folder)!r}.", "Give the folder that holds the pictures.")
    files = sorted(p for p in place.rglob("*") if p.is_file())
    names = tuple(str(p.relative_to(place)) for p in files if _is_picture(p))[:most]
    if not names:
        raise BadInput(f"The folder {str(folder)!r} holds no picture among its {len(files)} files.")
    return Pictures(net, place, names)


def _is_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(sniff(file.read(4096)).decoder)
    except OSError:
        return False
