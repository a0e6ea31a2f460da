"""What a network has learned to look for, as attributes: `pellucid.dream.atlas`, `pellucid.dream.embedding`."""

from pellucid.dream.atlas import Atlas, atlas
from pellucid.dream.circuits import Expansion, expanded_weights
from pellucid.dream.embedding import Embedding, embedding
from pellucid.dream.grid import ActivationGrid, activation_grid
from pellucid.dream.map_trust import MapTrust, map_trust
from pellucid.dream.origin import Origin

__all__ = (
    "ActivationGrid",
    "Atlas",
    "Embedding",
    "Expansion",
    "MapTrust",
    "Origin",
    "activation_grid",
    "atlas",
    "embedding",
    "expanded_weights",
    "map_trust",
)
