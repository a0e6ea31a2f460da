"""The guided rule: what flows back through a rectifier is rectified too, then goes the plain way.

A sigmoid gate (squeeze-and-excitation) is a constant factor: the signal goes through what was gated.
"""

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule

GUIDED = Rule(
    "guided",
    {**dict.fromkeys(RECTIFIERS, lambda step: step.vjp(step.up.clamp(min=0))), "gated": lambda step: step.vjp(step.up)},
    keeps=frozenset({"max_pool"}),
)
