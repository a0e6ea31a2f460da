"""Counts in sentences: one input, two inputs."""

from __future__ import annotations


def count(n: int, one: str, many: str = "") -> str:
    """A count with what is counted; `many` says it in the plural where that is not formed by a mere ending.

    >>> count(1, "operator"), count(2, "class"), count(3, "copy")
    ('1 operator', '2 classes', '3 copies')
    >>> [count(n, "input was given", "inputs were given") for n in (1, 2)]
    ['1 input was given', '2 inputs were given']
    """
    return f"{n} {one if n == 1 else many or plural(one)}"


def plural(thing: str) -> str:
    """The plural of a noun that forms it by its ending.

    >>> [plural(thing) for thing in ("pass", "branch", "query", "array", "sample")]
    ['passes', 'branches', 'queries', 'arrays', 'samples']
    """
    if thing.endswith("y") and thing[-2:-1] not in ("a", "e", "o", "u"):
        return f"{thing[:-1]}ies"
    return thing + ("es" if thing.endswith(("s", "x", "ch", "sh")) else "s")


def were_given(n: int, one: str) -> str:
    """How many of a thing were given.

    >>> were_given(1, "label"), were_given(2, "class")
    ('1 label was given', '2 classes were given')
    """
    return count(n, f"{one} was given", f"{plural(one)} were given")
