"""Maps of a few places laid over pictures, and where results about concepts come from."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.origin import Origin
from pellucid.views.arrays import Array
from pellucid.views.heat import heat_of, limits_of
from pellucid.views.number import count, number, seconds
from pellucid.views.picture import map_of
from pellucid.views.provenance import option_text
from pellucid.views.view import Fold, Heat, Limits, Photo, Table, Text, View

SIDE = 160  # of a picture among many


def pixels(picture: Tensor) -> Array:
    """`[3, height, width]` bytes as an array, channels last."""
    out: Array = picture.permute(1, 2, 0).contiguous().numpy()
    return out


def photo(picture: Tensor, title: str = "", caption: str = "") -> Photo:
    """A picture as it was, at most `SIDE` large."""
    small = _small(picture)
    return Photo(
        pixels(small), title, caption, f"{title or 'Picture'}, {picture.shape[2]} by {picture.shape[1]} pixels."
    )


def over(
    picture: Tensor, values: Tensor, *, signed: bool, title: str, caption: str = "", limits: Limits | None = None
) -> Heat:
    """A map of any size over a picture, enlarged linearly to the size of the picture; its true size is said."""
    small = _small(picture)
    size = (small.shape[1], small.shape[2])
    flat = values.double()[None, None]
    large = flat[0, 0]
    if tuple(values.shape) != size:
        coarse = values.shape[0] <= size[0] and values.shape[1] <= size[1]
        large = torch.nn.functional.interpolate(flat, size, mode="bilinear" if coarse else "area")[0, 0]
    grey = (small.double() * torch.tensor([0.299, 0.587, 0.114]).double().view(3, 1, 1)).sum(0)
    ground: Array = (grey + 0.5).floor().to(torch.uint8).numpy()
    drawn = map_of(large, SIDE)
    return heat_of(
        drawn, signed, title=title, caption=caption, underlay=ground, outlined=False,
        resolution=(values.shape[0], values.shape[1]), limits=limits or limits_of(drawn, signed),
    )  # fmt: skip


def _small(picture: Tensor) -> Tensor:
    height, width = picture.shape[1:]
    longest = max(height, width)
    if longest <= SIDE:
        return picture
    size = max(1, round(height * SIDE / longest)), max(1, round(width * SIDE / longest))
    small = torch.nn.functional.interpolate(picture[None].float(), size, mode="area")[0]
    return small.round().clamp(0, 255).to(torch.uint8)


def origin_fold(o: Origin, papers: str) -> Fold:
    """The small print: what was asked, of which network, at what cost."""
    rows = [
        ("paper", papers),
        ("what is explained", o.target),
        ("at", o.at),
        ("options", ", ".join(f"{k} = {option_text(v)}" for k, v in o.options.items()) or "none"),
        ("network", o.network),
        ("network's fingerprint", o.fingerprint),
        ("seed", str(o.seed)),
        ("passes", f"{count(o.cost.forwards, 'sample')} forward, {number(float(o.cost.backwards))} backward"),
        ("time", seconds(o.cost.seconds)),
        ("operations without a rule", ", ".join(o.without_rule)),
        ("versions", ", ".join(f"{k} {v}" for k, v in o.versions.items())),
        ("stopped", o.stopped),
    ]
    return Fold("Where this comes from", Table(("", ""), tuple((k, v) for k, v in rows if v)))


def warnings_of(o: Origin) -> tuple[View, ...]:
    """What has to be said before anything is read."""
    stopped = (f"The computation was stopped {o.stopped}: what follows is of what was finished.",) if o.stopped else ()
    missing = ", ".join(o.without_rule)
    rules = (f"Operations without a rule, passed by the plain gradient: {missing}.",) if missing else ()
    return tuple(Text(note, "warning") for note in (*o.notes, *stopped, *rules))
