"""The names of the zoo's networks, apart from the code that opens them, which needs torch."""

from __future__ import annotations

NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "vgg16")
