"""A block in which nothing looks for garbage: where much is made that stays, looking through it is time for nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Run the block without the collector of cycles, which goes on after it if it went on before.

    For imports of large packages, where it is a fifth of the time, and for what lives until it is drawn.
    """
    went_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if went_on:
            gc.enable()
