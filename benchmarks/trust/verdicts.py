"""What the card says of maps whose worth is known: the confusion matrix of its verdicts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.maps import Maps
from benchmarks.trust.networks import RIGS, Planted
from pellucid.checks.faithfulness import MapScore, score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.trials.probed import ProbeSet, probe_set


def probed(planted: Planted, i: int, count: int, net: Network) -> ProbeSet:
    """The card's own probes of scene i."""
    target = pl.logit(int(planted.scenes.labels[i]))
    (found,) = probe_set(Score(net, target), {net.inputs[0]: planted.scenes.x[i : i + 1]}, count)
    return found


def judged(name: str, pictures: int, count: int = 128) -> list[dict[str, Any]]:
    """A row a map: rig, picture, kind of the map, the card's word and its numbers."""
    planted = RIGS[name](pictures)
    maps, rows = Maps(planted), []
    for i in range(len(planted.scenes)):
        probes = probed(planted, i, count, maps.net)
        guesses = [("wrong", f"{guess} map", m) for guess, m in probes.guesses]
        for kind, what, m in (*maps.of(i), *guesses):
            rows.append({"rig": planted.name, "picture": i, "kind": kind, "map": what} | row(m, probes))
    return rows


def row(m: Tensor, probes: ProbeSet) -> dict[str, Any]:
    """The card's numbers for one map."""
    found: MapScore = score_map(m, probes)
    told = {k: v for k, v in asdict(found).items() if k not in ("guesses",)}
    return told | dict(found.guesses) | {"word": found.word, "ratio": probes.ratio, "area": probes.area}
