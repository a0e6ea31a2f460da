"""Dreams: what each part of a network looks for.  `pellucid.dream.maximize` and its like.

A file is named after the function in it; here the function takes the name.
"""

from pellucid.dream.deepdream import deepdream
from pellucid.dream.dream import Dream
from pellucid.dream.fool import fool
from pellucid.dream.invert import caricature, invert, nudge, style
from pellucid.dream.maximize import between, maximize, resume, watch
from pellucid.dream.recipe import Recipe

__all__ = (
    "Dream", "Recipe", "between", "caricature", "deepdream", "fool", "invert", "maximize", "nudge", "resume", "style",
    "watch",
)  # fmt: skip
