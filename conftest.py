"""What every test and every doctest runs under.  Nothing here imports pellucid: the shape checks come before it."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Read when keras is first imported.

import hypothesis
import pytest
import torch

# `fast` is what a person waits for; `thorough` is what CI runs.  Deadlines would time the machine, not the code.
hypothesis.settings.register_profile("fast", max_examples=5, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=25, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("thorough" if os.environ.get("CI") else "fast")


@pytest.fixture(autouse=True)
def _threads_and_seed() -> None:
    """One thread, so that sums are added up in one order; a fixed seed for the random networks of the tests."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lite0() -> Any:
    """EfficientNet-Lite0 with its own weights."""
    from pellucid.doors import zoo  # not above: coverage and the checks of shapes begin after this file is read

    return zoo.open("efficientnet_lite0")
