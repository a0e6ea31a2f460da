"""Dreams: what each part of a network looks for, drawn and on real data: `pellucid.dream.maximize`, ...

A file is named after the function in it; here the function takes the name.
"""

from pellucid.core.origin import Origin
from pellucid.dream.atlas import Atlas, atlas
from pellucid.dream.circuits import Expansion, expanded_weights
from pellucid.dream.deepdream import deepdream
from pellucid.dream.dream import Dream
from pellucid.dream.embedding import Embedding, embedding
from pellucid.dream.evolution import Evolution, evolution
from pellucid.dream.filters import Filters, filters
from pellucid.dream.fool import fool
from pellucid.dream.grid import ActivationGrid, activation_grid
from pellucid.dream.invert import caricature, invert, nudge, style
from pellucid.dream.maps.icons import illustrate
from pellucid.dream.maps.map_trust import MapTrust, map_trust
from pellucid.dream.maximize import between, maximize, resume, watch
from pellucid.dream.patches import Patches, patches
from pellucid.dream.patterns import patterns
from pellucid.dream.recipe import Recipe
from pellucid.dream.words import Words, words

__all__ = (
    "ActivationGrid",
    "Atlas",
    "Dream",
    "Embedding",
    "Evolution",
    "Expansion",
    "Filters",
    "MapTrust",
    "Origin",
    "Patches",
    "Recipe",
    "Words",
    "activation_grid",
    "atlas",
    "between",
    "caricature",
    "deepdream",
    "embedding",
    "evolution",
    "expanded_weights",
    "filters",
    "fool",
    "illustrate",
    "invert",
    "map_trust",
    "maximize",
    "nudge",
    "patches",
    "patterns",
    "resume",
    "style",
    "watch",
    "words",
)  # fmt: skip
