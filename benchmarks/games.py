"""Estimators of Shapley values: the squared error that so many evaluations leave, against captum and shap.

Values are known exactly, from all coalitions; an error is the squared distance to them over their squared length, on
average over seeds.  Evaluations are counted by the game itself.  Runs where captum and shap are: in the environment of
the tests.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from harness import facts, write
from torch import Tensor, nn

BUDGETS = (8, 16, 32)  # evaluations a player
TITLE = "Shapley values: error against evaluations"
ABOUT = (
    "Squared error relative to the exact values (by enumeration), mean over seeds, at 8, 16 and 32 evaluations a "
    "player. The last columns divide evaluations: how many times as many kernel_shap needs as this estimator at 32 a "
    "player, for the same error (read off the straight line through its own errors on two logarithmic scales, and "
    "run again at that number: the error it then had is given)."
)
COLUMNS = [
    "game",
    "estimator",
    *(f"error at {b} n" for b in BUDGETS),
    "kernel_shap's evaluations / this",
    "its error there / this",
]
COFFEE = Path(__file__).resolve().parent.parent / "examples" / "coffee.jpg"


class Game(nn.Module):
    """The score of a coalition is looked up by the number that its players' bits make; evaluations are counted."""

    def __init__(self, worth: Tensor) -> None:
        super().__init__()
        self.register_buffer("worth", worth.double())
        self.players, self.evaluations = int(math.log2(len(worth))), 0

    def forward(self, x: Tensor) -> Tensor:
        self.evaluations += len(x)
        return self.worth[(x.round().long() * 2 ** torch.arange(self.players)).sum(1)][:, None]


def coalitions(n: int) -> Tensor:
    """`[2^n, n]`: number i has the players of i's bits."""
    return torch.arange(2**n)[:, None] >> torch.arange(n) & 1


def exact(worth: Tensor) -> Tensor:
    """Shapley values from all coalitions."""
    n = int(math.log2(len(worth)))
    there, number = coalitions(n), torch.arange(2**n)
    sizes = there.sum(1)
    share = torch.tensor([1 / (n * math.comb(n - 1, k)) for k in range(n)], dtype=torch.double)
    out = []
    for player in range(n):
        without = number[there[:, player] == 0]
        out.append((share[sizes[without]] * (worth[without + 2**player] - worth[without])).sum())
    return torch.stack(out)


def wine() -> dict[str, Tensor]:
    """A perceptron on the wine data: the score of the class of three rows, absent columns at their mean."""
    from sklearn.datasets import load_wine

    data = load_wine()
    x, y = torch.as_tensor(data.data).double(), torch.as_tensor(data.target)
    x = (x - x.mean(0)) / x.std(0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).double()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return {
            f"wine, row {r}, probability": net(coalitions(13) * x[r]).softmax(1)[:, int(y[r])] for r in (0, 70, 150)
        } | {f"wine, row {r}, logit": net(coalitions(13) * x[r])[:, int(y[r])] for r in (0, 150)}


def products(n: int = 12, terms: int = 60) -> Tensor:
    """A sum of random products of up to five players."""
    generator, table = torch.Generator().manual_seed(0), coalitions(n).double()
    worth = torch.zeros(2**n, dtype=torch.double)
    for _ in range(terms):
        size = int(torch.randint(1, 6, (), generator=generator))
        members = torch.randperm(n, generator=generator)[:size]
        worth += torch.randn((), generator=generator) * table[:, members].prod(1)
    return worth


def photograph() -> Tensor:
    """EfficientNet-lite0's first class of a photograph in 3 x 4 blocks, absent ones blurred."""
    import pellucid as pl
    from pellucid.core.score import Score
    from pellucid.core.target import logit
    from pellucid.probes.coalitions import parts, scores

    net = pl.open("efficientnet_lite0")
    x = net.read(COFFEE)
    with torch.no_grad():
        f = Score(net, logit(int(net.model(x).argmax())))
        across = torch.arange(x.shape[-1])
        mask = (across * 3 // len(across))[:, None] * 4 + across * 4 // len(across)
        game = parts(f, {net.inputs[0]: x}, mask=mask)
        return scores(f, game.coalitions(coalitions(12).bool()[None]))[0]


def ours_kernel(game: Game, budget: int, seed: int) -> Tensor:
    return ours("kernel_shap", game, seed, samples=budget - 2)


def ours_orders(game: Game, budget: int, seed: int) -> Tensor:
    return ours("shapley_sampling", game, seed, pairs=max(2, (budget - 2) // (2 * (game.players - 1))))


def ours(name: str, game: Game, seed: int, **options: Any) -> Tensor:
    import pellucid as pl
    from pellucid.core.run import Run, running

    with running(Run(seed=seed)):
        found = getattr(pl.methods, name)(game, torch.ones(1, game.players, dtype=torch.double), 0, **options)
    return found.values[0]


def captum_kernel(game: Game, budget: int, seed: int) -> Tensor:
    from captum.attr import KernelShap

    torch.manual_seed(seed)
    method, row = KernelShap(lambda x: game(x)[:, 0].float()), torch.ones(1, game.players)
    return method.attribute(row, n_samples=budget, perturbations_per_eval=budget)[0]


def captum_orders(game: Game, budget: int, seed: int) -> Tensor:
    from captum.attr import ShapleyValueSampling

    torch.manual_seed(seed)
    method, row = ShapleyValueSampling(lambda x: game(x)[:, 0]), torch.ones(1, game.players, dtype=torch.double)
    return method.attribute(row, n_samples=budget // game.players, perturbations_per_eval=game.players)[0]


def shap_kernel(game: Game, budget: int, seed: int) -> Tensor:
    import shap

    np.random.seed(seed)
    explainer = shap.KernelExplainer(plain(game), np.zeros((1, game.players)))
    game.evaluations = 0  # what it asked of the background alone is given to it
    found = explainer.shap_values(np.ones((1, game.players)), nsamples=budget - 2, l1_reg=False, silent=True)
    return torch.as_tensor(np.asarray(found))[0]


def shap_orders(game: Game, budget: int, seed: int) -> Tensor:
    import shap

    explainer = shap.PermutationExplainer(plain(game), np.zeros((1, game.players)), seed=seed)
    return torch.as_tensor(explainer(np.ones((1, game.players)), max_evals=budget, silent=True).values[0])


def plain(game: Game) -> Callable[[Any], Any]:
    return lambda x: game(torch.as_tensor(x))[:, 0].numpy()


OURS = "pellucid, kernel_shap"
ESTIMATORS: dict[str, Callable[[Game, int, int], Tensor]] = {
    OURS: ours_kernel,
    "pellucid, shapley_sampling": ours_orders,
    "captum, KernelShap": captum_kernel,
    "captum, ShapleyValueSampling": captum_orders,
    "shap, KernelExplainer": shap_kernel,
    "shap, PermutationExplainer": shap_orders,
}


def error(worth: Tensor, true: Tensor, name: str, budget: int, seeds: int) -> float:
    """The mean squared relative error over seeds; nobody may ask for more than the budget, give or take one order."""
    missed = []
    for seed in range(seeds):
        game = Game(worth)
        found = ESTIMATORS[name](game, budget, seed).detach().double()
        if game.evaluations > budget + 4:
            raise ValueError(f"{name} made {game.evaluations} evaluations where {budget} were allowed.")
        missed.append(float((found - true).square().sum() / true.square().sum()))
    return fmean(missed)


def rows(worth: Tensor, seeds: int) -> Iterator[list[str]]:
    """One row an estimator: its errors, and how many evaluations ours takes to the last of them."""
    true, n = exact(worth), int(math.log2(len(worth)))
    budgets = [b * n for b in BUDGETS]
    own = [error(worth, true, OURS, b, seeds) for b in budgets]
    slope, intercept = np.polyfit(np.log(own), np.log(budgets), 1)
    for name in ESTIMATORS:
        errors = own if name == OURS else [error(worth, true, name, b, seeds) for b in budgets]
        line = [name, *(f"{e:.2g}" for e in errors)]
        if name == OURS:
            yield [*line, "", ""]
            continue
        needed = int(np.exp(intercept + slope * np.log(errors[-1])).clip(4 * n + 2, 2**n))
        there = error(worth, true, OURS, needed, seeds) / errors[-1]
        yield [*line, f"{needed / budgets[-1]:.2f}", f"{there:.2f}"]


def main() -> None:
    """Every game, written to RESULTS.md."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each estimator (default 20)")
    parser.add_argument("--only", default="", help="games whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    games: dict[str, Callable[[], Tensor]] = {name: (lambda w=worth: w) for name, worth in wine().items()}
    games |= {"60 products of up to 5 of 12": products, "efficientnet_lite0, coffee, 12 parts": photograph}
    for name, worth in games.items():
        if given.only in name:
            found = list(rows(worth(), given.seeds))
            for row in found:
                sys.stdout.write(f"{name}: {' '.join(row)}\n")
            machine = facts(("captum", "shap"), given.seeds).replace("rounds", "seeds")
            write(TITLE, ABOUT, name, found, machine, columns=COLUMNS)


if __name__ == "__main__":
    main()
