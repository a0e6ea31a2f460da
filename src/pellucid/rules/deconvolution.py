"""The deconvolution network's rule: a rectifier rectifies what flows back, whatever went forward.

Max pooling is undone by its switches (the value goes back to where the maximum was), which is its plain gradient; a
convolution is undone by its transposed filters, which is its plain gradient too, and so are batch normalization by
constants, sums and mean pooling.  SiLU, GELU and their like have no switch: they rectify, which is an extension of the
paper's.  A sigmoid gate (squeeze-and-excitation) is a constant factor: the signal goes through what was gated.
"""

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule

DECONVOLUTION = Rule(
    "deconvolution",
    {**dict.fromkeys(RECTIFIERS, lambda step: (step.up.clamp(min=0),)), "gated": lambda step: step.vjp(step.up)},
    keeps=frozenset({"max_pool"}),
)
