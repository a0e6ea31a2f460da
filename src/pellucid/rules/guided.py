"""The guided rule: what flows back through a rectifier is rectified too, then goes the plain way."""

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule

GUIDED = Rule(
    "guided",
    dict.fromkeys(RECTIFIERS, lambda step: step.vjp(step.up.clamp(min=0))),
    keeps=frozenset({"max_pool"}),
)
