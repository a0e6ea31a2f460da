"""What parts of a network look for, on real data and by optimization: `pellucid.dream.patches`, ..."""

from __future__ import annotations

from pellucid.dream.evolution import Evolution, evolution
from pellucid.dream.filters import Filters, filters
from pellucid.dream.patches import Patches, patches
from pellucid.dream.patterns import patterns

__all__ = ("Evolution", "Filters", "Patches", "evolution", "filters", "patches", "patterns")
