"""Small games as networks: players 0 to n - 1 are the columns of a table, present at 1 and absent at 0."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from tests.networks import Chain, seeded


class Game(nn.Module):
    """The score of a coalition is looked up: `worth[number]`, the number made of the players' bits."""

    def __init__(self, worth: Tensor) -> None:
        super().__init__()
        self.register_buffer("worth", worth.double())
        self.players = int(math.log2(len(worth)))

    def forward(self, x: Tensor) -> Tensor:
        number = (x.round().long() * 2 ** torch.arange(self.players)).sum(1)
        return self.worth[number][:, None]

    @property
    def everybody(self) -> Tensor:
        return torch.ones(1, self.players, dtype=torch.double)


def coalition_table(n: int) -> Tensor:
    """`[2^n, n]`, number i has the players of i's bits."""
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).double()


def exact(worth: Tensor) -> Tensor:
    """Shapley values by the definition over orders of joining, in its closed form: plain, one coalition at a time."""
    return _exact(tuple(worth.tolist()))


@cache  # tests ask for the same few games hundreds of times
def _exact(worth: tuple[float, ...]) -> Tensor:
    n = int(math.log2(len(worth)))
    out = [0.0] * n
    for number in range(2**n):
        size = bin(number).count("1")
        for player in range(n):
            if not number >> player & 1:
                share = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
                out[player] += share * (worth[number | 1 << player] - worth[number])
    return torch.tensor(out, dtype=torch.double)


def unanimities(n: int, terms: int, seed: int) -> Tensor:
    """A sum of random products of up to five players."""
    generator, table = seeded(seed), coalition_table(n)
    worth = torch.zeros(2**n, dtype=torch.double)
    for _ in range(terms):
        size = int(torch.randint(1, 6, (), generator=generator))
        members = torch.randperm(n, generator=generator)[:size]
        worth += torch.randn((), generator=generator) * table[:, members].prod(1)
    return worth


def of_a_network(n: int, seed: int) -> Tensor:
    """The class probability of a random network on a random row, absent columns at 0."""
    net, row = Chain(n, 16, 16, 3, seed=seed).double(), torch.randn(n, generator=seeded(seed)).double()
    with torch.no_grad():
        return net(coalition_table(n) * row).softmax(1)[:, 1]


def several(n: int = 10) -> list[Tensor]:
    """Games of different kinds to measure estimators on."""
    return [unanimities(n, 40, 1), unanimities(n, 12, 2), of_a_network(n, 3), of_a_network(n, 4), of_a_network(n, 5)]
