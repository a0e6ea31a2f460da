"""Dreams: what each part of a network looks for, drawn and on real data: `pellucid.dream.maximize`, ...

A file is named after the function in it; here the function takes the name.
"""

from pellucid.dream.deepdream import deepdream
from pellucid.dream.dream import Dream
from pellucid.dream.fool import fool
from pellucid.dream.invert import caricature, invert, nudge, style
from pellucid.dream.maximize import between, maximize, resume, watch
from pellucid.dream.patches import Patches, patches
from pellucid.dream.patterns import patterns
from pellucid.dream.recipe import Recipe
from pellucid.dream.words import Words, words

__all__ = (
    "Dream",
    "Patches",
    "Recipe",
    "Words",
    "between",
    "caricature",
    "deepdream",
    "fool",
    "invert",
    "maximize",
    "nudge",
    "patches",
    "patterns",
    "resume",
    "style",
    "watch",
    "words",
)  # fmt: skip
