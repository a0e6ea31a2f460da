"""What the trust card says of dreams that are good, and of noise that the network takes for the same classes.

    python -m benchmarks.dreams.card FOLDER [PHOTOGRAPHS]

Four classes of EfficientNet-Lite0, dreamed by the default recipe and by gradient steps on plain pixels without any
transform, which is how adversarial noise is made.  The card's natural pictures are photographs of a folder, spread
evenly over its files.  Prints a table in Markdown.
"""

from __future__ import annotations

import sys

import torch

import pellucid as pl
from pellucid.checks.dreams.belief import belief
from pellucid.dream.dream import Dream
from pellucid.dream.recipe import Recipe

CLASSES = ("zebra", "toucan", "strawberry", "tennis ball")
RECIPES = {
    "default": Recipe(),
    "noise": Recipe(
        parametrization="pixels", steps=64, jitter=0.0, shrink=1.0, zoom=1.0, rotate=0.0, noise=0.0,
    ),
}  # fmt: skip
COLUMNS = ("activation", "robustness", "transfer", "path_agreement", "spectrum", "seeds")


def main(folder: str, most: int = 200) -> None:
    """Dream, measure and print."""
    net = pl.open("efficientnet_lite0")
    found = pl.pictures(net, folder)
    every = max(1, len(found) // most)
    photographs = torch.utils.data.Subset(found, range(0, every * min(most, len(found)), every))  # type: ignore[arg-type]
    sys.stdout.write(f"| dream | {' | '.join(COLUMNS)} | word |\n|---|{'---|' * (len(COLUMNS) + 1)}\n")
    for name, recipe in RECIPES.items():
        dream = pl.dream.maximize(net, [pl.logit(c) for c in CLASSES], recipe=recipe)
        card = pl.check_dream(dream, natural=photographs, trust="thorough")
        sys.stdout.writelines(rows(name, card))


def rows(name: str, card: Dream) -> list[str]:
    """A line of the table for each picture."""
    lines = list[str]()
    for label, checks in zip(CLASSES, card.checks, strict=True):
        by = {c.name: c.value for c in checks}
        lines.append(f"| {label}, {name} | {' | '.join(f'{by[c]:.2f}' for c in COLUMNS)} | {belief(checks).word} |\n")
    return lines


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
