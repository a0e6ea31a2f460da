"""The card of a dream leaves the user's own network as it was, in all the circumstances that explanations do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import PellucidError
from tests.conditions import SCENES
from tests.traces import fingerprint


@pytest.fixture(autouse=True)
def _old_ways() -> Iterator[None]:
    """Scripting and wrapping announce their own retirement."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        yield


@pytest.mark.parametrize("condition", SCENES)
def test_no_trace(condition: str) -> None:
    scene = SCENES[condition]()
    if scene.raises is not None:
        return  # there is no dream that could be measured
    try:
        with scene.around():
            dream = pl.dream.maximize(scene.model, pl.logit(1), like=scene.x, steps=2)
    except PellucidError as refusal:
        assert refusal.what
        return
    before = fingerprint(scene.model, scene.x)
    natural = torch.rand(30, *dream.pictures.shape[1:], generator=torch.Generator().manual_seed(0))
    with scene.around():
        card = pl.check_dream(dream, natural=natural)
    assert all(check.why.endswith(".") for check in card.checks[0])
    assert fingerprint(scene.model, scene.x) == before
