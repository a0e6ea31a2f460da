"""A block in which nothing looks for garbage: where much is made that stays, looking through it is time for nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from pellucid.core.alone import is_alone


@contextmanager
def uncollected() -> Iterator[None]:
    """Run the block without the collector of cycles, which goes on after it if it went on before.

    For imports of large packages, where it is a fifth of the time, and for what lives until it is drawn.  In a process
    that runs one command, nobody looks through what was made here afterwards either.
    """
    went_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_alone():
            gc.freeze()
        if went_on:
            gc.enable()
