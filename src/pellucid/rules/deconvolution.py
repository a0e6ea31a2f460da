"""The deconvolution network's rule: a rectifier rectifies what flows back, whatever went forward.

Max pooling is undone by its switches (the value goes back to where the maximum was), which is its plain gradient; a
convolution is undone by its transposed filters, which is its plain gradient too.
"""

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule

DECONVOLUTION = Rule(
    "deconvolution",
    dict.fromkeys(RECTIFIERS, lambda step: (step.up.clamp(min=0),)),
    keeps=frozenset({"max_pool"}),
)
