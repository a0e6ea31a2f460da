"""The straight rule: activations are taken as if they let everything through, so that only weights are left."""

from __future__ import annotations

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule

STRAIGHT = Rule("straight", dict.fromkeys(RECTIFIERS, lambda step: (step.up,)))
