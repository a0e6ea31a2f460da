"""Single channels and groups of them as reports: what an answer came through, what a channel stands for."""

from __future__ import annotations

import math

import torch

from pellucid.concepts.between import Between
from pellucid.concepts.groups import Groups
from pellucid.concepts.references import References
from pellucid.concepts.relevance import Relevance
from pellucid.views.number import number, percent, signed_number
from pellucid.views.over_pictures import origin_fold, over, photo, warnings_of
from pellucid.views.view import Bar, Bars, Columns, Heading, Stack, Table, Text, View

CRP = "Achtibat et al. 2023, arXiv:2206.03208"
BLOCKS = "Olah et al. 2018, doi:10.23915/distill.00010"
LITTLE, FAR = 0.01, 0.5  # of a score that has to arrive; of a sum that may be missed
_MANY = 20  # channels in a table
_PICTURES = 6


def relevance_view(found: Relevance) -> View:
    """Which channels an answer came through, and where in the picture each looks."""
    o = found.origin
    arrived = found.arrived
    bias = (
        "" if math.isnan(arrived) else f" {percent(arrived)} of it arrived there; biases and stabilizers keep the rest."
    )
    reached = float(found.whole.sum()) / found.score if found.score else math.nan
    lost = abs(reached) < LITTLE
    little = f"Of the score, {percent(reached)} arrived at the picture: the maps say where, and hardly how much."
    shown = (
        f"These {len(found.chosen)} maps together are {percent(found.shown)} of the whole one." if found.chosen else ""
    )
    reach = float(found.maps.abs().max()) if len(found.maps) else 0.0
    maps = tuple(
        over(found.picture, m, signed=True, title=f"Channel {c}: {signed_number(float(found.channels[c]))}")
        for c, m in zip(found.chosen, found.maps, strict=True)
    )
    whole = over(found.picture, found.whole, signed=True, title="All channels")
    note = "Each map is on its own scale: compare where they are, and how much by the numbers." if reach else ""
    return Stack(
        (
            Heading(f"Through which channels: {o.target}", 1),
            Text(
                f"The score of {number(found.score)} was shared out backwards to the channels at {o.at}.{bias} {shown}",
                "lead",
            ),
            *warnings_of(o),
            *((Text(little, "warning"),) if lost else ()),
            Columns((photo(found.picture, "What the network saw"), whole)),
            Text(note, "quiet"),
            Columns(maps),
            _channel_bars(found),
            Text(
                "The maps of all channels add up to the whole one. What a channel stands for, its reference samples "
                "say (pl.concepts.references). The relevance is that of the chosen rules; other rules share otherwise.",
                "quiet",
            ),
            origin_fold(o, CRP),
        )
    )  # fmt: skip


def _channel_bars(found: Relevance) -> Bars:
    order = found.channels.abs().argsort(descending=True, stable=True)[:_MANY].tolist()
    values = [float(found.channels[c]) for c in order]
    bars = tuple(Bar(f"Channel {c}", v, strong=c in found.chosen) for c, v in zip(order, values, strict=True))
    reach = max(map(abs, values)) or 1.0
    limits = (-reach if min(values) < 0 else 0.0, reach)
    return Bars(bars, f"The {len(bars)} most relevant of {len(found.channels)} channels, in the score's unit", limits)


def references_view(found: References) -> View:
    """What each channel stands for: the samples in which it matters most."""
    o = found.origin
    return Stack(
        (
            Heading(f"What channels at {o.at} stand for: {o.target}", 1),
            Text(
                f"For each channel, the samples of {found.seen} in which it is most relevant for the target, and where "
                "in them.",
                "lead",
            ),
            *warnings_of(o),
            *(view for row in range(len(found.channels)) for view in _reference_row(found, row)),
            origin_fold(o, CRP),
        )
    )


def _reference_row(found: References, row: int) -> tuple[View, ...]:
    shared = found.shared[row]
    said = "" if math.isnan(shared) else f"{percent(shared)} of these are among the samples that excite it most, too."
    maps = tuple(
        over(
            found.pictures[row, i],
            found.maps[row, i],
            signed=True,
            title=found.names[row][i],
            caption=f"relevance {_relevance(found, row, i)}",
        )
        for i, sample in enumerate(found.samples[row].tolist())
        if sample >= 0
    )
    head = Heading(f"Channel {found.channels[row]}", 2)
    return (head, Text(said), Columns(maps)) if maps else (head, Text("It is relevant in none of the samples."))


def _relevance(found: References, row: int, i: int) -> str:
    value = float(found.relevance[row, i])
    return percent(value) if found.origin.options.get("share") else signed_number(value)


def groups_view(found: Groups) -> View:
    """The groups of channels on each picture, and what each adds to the score."""
    o, gap = found.origin, found.gap
    worst = float(gap.nan_to_num(0).max())
    care = (
        f" The sums miss what zeros at the site would do by up to {percent(worst)}: read them as a first order only."
        if worst > FAR
        else f" The sums miss what zeros at the site would do by {percent(worst)} at most."
    )
    means = found.contributions.sum((2, 3)).mean(0)
    left = float(found.ungrouped.mean())
    bars = (*(Bar(f"Group {k + 1}", float(v)) for k, v in enumerate(means)), Bar("In no group", left))
    reach = max(abs(b.value) for b in bars) or 1.0
    low = -reach if min(b.value for b in bars) < 0 else 0.0
    rows = tuple((f"{k + 1}", ", ".join(map(str, found.strongest(k)))) for k in range(len(found)))
    return Stack(
        (
            Heading(f"Groups of channels at {o.at}: {o.target}", 1),
            Text(
                f"{found.vectors.shape[1]} channels as {len(found)} groups, which make up "
                f"{percent(1 - found.missed**2)} of the squared activations.{care}",
                "lead",
            ),
            *warnings_of(o),
            Bars(bars, "What each group adds to the score, to first order; the mean over the pictures", (low, reach)),
            *(_grouped_picture(found, i) for i in range(min(_PICTURES, len(found.maps)))),
            Table(("group", "its strongest channels"), rows),
            origin_fold(o, BLOCKS),
        )
    )


def _grouped_picture(found: Groups, i: int) -> View:
    reach = float(found.maps[i].max()) or 1.0
    head = photo(found.pictures[i], found.names[i], f"Score {number(float(found.scores[i, 0]))}.")
    place = over(found.pictures[i], found.by_place[i], signed=True, title="All channels add")
    maps = tuple(
        over(
            found.pictures[i],
            found.maps[i, k],
            signed=False,
            title=f"Group {k + 1}: {signed_number(float(found.contributions[i, k].sum()))}",
            limits=(0.0, reach),
        )
        for k in range(len(found))
    )
    return Columns((head, place, *maps))


def between_view(found: Between) -> View:
    """What each channel of the second site is made of at the first."""
    o, gap = found.origin, found.gap
    worst = float(gap.nan_to_num(0).max())
    maps = tuple(
        over(found.picture, m, signed=True, title=f"Channel {c}", caption=f"mean {number(float(v))}")
        for c, m, v in zip(found.channels, found.maps, found.values, strict=True)
    )
    rows = tuple(_made_of(found, row) for row in range(len(found.channels)))
    far = ": too far for sums to be shares, so that only their order and sign tell something" if worst > FAR else ""
    columns = ("channel", "adds to the target", f"made of channels at {found.first}", "sum misses by")
    return Stack(
        (
            Heading(f"How {o.at} is made of {found.first}: {o.target}", 1),
            Text(
                f"To first order, what channels and places at {found.first} add to {len(found.channels)} channels at "
                f"{o.at}. The sums miss what zeros there would do by up to {percent(worst)}{far}.",
                "lead",
            ),
            *warnings_of(o),
            Columns((photo(found.picture, "What the network saw"), *maps)),
            Table(columns, rows),
            origin_fold(o, BLOCKS),
        )
    )


def _made_of(found: Between, row: int) -> tuple[str | float | None, ...]:
    parts = ", ".join(f"{c} ({signed_number(float(found.matrix[row, c]), 2)})" for c in found.strongest(row))
    gap = float(found.gap[row])
    return (
        str(found.channels[row]),
        float(found.worth[row]),
        parts,
        percent(gap) if torch.isfinite(found.gap[row]) else None,
    )
