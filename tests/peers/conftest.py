"""The comparisons with other packages: collected only where those are installed (`make test-peers`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PRESENT = importlib.util.find_spec("zennit") is not None
collect_ignore = ["torchvision_operators.py"]  # Its copy beside the packages is what runs.
collect_ignore_glob = [] if PRESENT else ["test_*.py"]


def pytest_report_header() -> str:
    """Say aloud which of the two happened."""
    return f"peers: {'present' if PRESENT else 'absent, tests/peers is left out (make test-peers)'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.peers)
            # The peers' own warnings are not ours to fail on.
            item.add_marker(pytest.mark.filterwarnings("default"))
