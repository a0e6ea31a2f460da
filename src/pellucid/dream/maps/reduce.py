"""From many dimensions to two: principal components of our own, t-SNE and UMAP of optional packages.

A map's axes mean something for PCA only: the two directions in which the data vary most.  t-SNE (van der Maaten and
Hinton 2008) and UMAP (McInnes, Healy and Melville 2018) keep neighborhoods and give up distances.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput, Missing
from pellucid.core.run import current

How: TypeAlias = Annotated[
    Literal["pca", "tsne", "umap"],
    "how the map is made: principal components, t-SNE (needs scikit-learn) or UMAP (needs umap-learn)",
]
_PACKAGES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}
_COMPONENTS = 50  # what t-SNE and UMAP are given, as their authors do: the rest is mostly noise
_LEAST = 4
_CHUNK = 4096


class Moments:
    """Mean and covariance of vectors that come a few at a time, in double precision; memory: width squared.

    >>> moments = Moments(2)
    >>> for part in torch.tensor([[1.0, 0], [3, 0], [5, 3]]).split(2):
    ...     moments.add(part)
    >>> moments.mean.tolist(), moments.covariance[0, 0].item()
    ([3.0, 1.0], 4.0)
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.double)
        self._scatter = torch.zeros(width, width, dtype=torch.double)

    def add(self, part: Float[Tensor, "n width"]) -> None:
        """Take more vectors in (Chan, Golub and LeVeque 1979)."""
        part = part.double()
        n, middle = len(part), part.mean(0)
        away, shift = part - middle, middle - self.mean
        weight = self.count * n / (self.count + n)
        self._scatter += away.T @ away + weight * torch.outer(shift, shift)
        self.count += n
        self.mean = self.mean + shift * (n / self.count)

    @property
    def covariance(self) -> Float[Tensor, "width width"]:
        """The unbiased covariance."""
        return self._scatter / max(self.count - 1, 1)


@dataclass(frozen=True, slots=True)
class Principal:
    """Coordinates along the directions of largest variance, and the share of all variance along each."""

    places: Float[Tensor, "n count"]
    directions: Float[Tensor, "count width"]
    shares: Float[Tensor, " count"]


def principal(points: Float[Tensor, "n width"], count: int = 2) -> Principal:
    """The first principal components, through the covariance, which takes the points a few at a time.

    Directions are known up to their sign: each is turned so that its largest entry is positive.

    >>> found = principal(torch.tensor([[0.0, 0], [2, 0], [4, 0], [6, 0]]), 1)
    >>> found.places[:, 0].tolist(), found.shares.tolist()
    ([-3.0, -1.0, 1.0, 3.0], [1.0])
    """
    moments = Moments(points.shape[1])
    for part in torch.split(points, _CHUNK):
        moments.add(part)
    values, vectors = torch.linalg.eigh(moments.covariance)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1).T[:count]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = torch.where(largest < 0, -vectors, vectors)
    places = torch.cat([(part.double() - moments.mean) @ vectors.T for part in torch.split(points, _CHUNK)])
    total = values.sum()
    shares = values[:count] / total if total > 0 else torch.zeros_like(values[:count])
    return Principal(places.float(), vectors.float(), shares)


@dataclass(frozen=True, slots=True)
class Reduced:
    """Places on the map, and the share of the variance that its two axes show (NaN where they are no directions)."""

    places: Float[Tensor, "n 2"]
    explained: float = float("nan")


def refuse_missing(how: str) -> None:
    """Raise `Missing`, with the command that helps, when the map needs a package that is not there."""
    module, package = _PACKAGES.get(how, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise Missing(f"how={how!r} needs the package {package}.", "pip install 'pellucid[embed]', or how='pca'")


def reduced(points: Float[Tensor, "n width"], how: str, *, neighbors: int = 15, start: int = 0) -> Reduced:
    """The points in two dimensions; equal for equal seeds of the run.

    `neighbors` is how many a point is held near to: UMAP's neighborhood; twice as many are t-SNE's perplexity.
    `start` numbers the attempts: 0 starts from the principal components, any other one from random places.
    Raises `Missing` when a package is not there, and `BadInput` for fewer than four points.
    """
    refuse_missing(how)
    if len(points) < _LEAST:
        raise BadInput(f"A map was asked for of {len(points)} points.", f"Give at least {_LEAST} samples.")
    if how == "pca":
        found = principal(points, 2)
        return Reduced(_two(found.places), float(found.shares.sum()))
    first = principal(points, min(_COMPONENTS, *points.shape))
    generator = current().generator("map", how, start)
    state = int(torch.randint(2**31 - 1, (1,), generator=generator))
    begin = _two(first.places) if start == 0 else torch.randn(len(points), 2, generator=generator)
    made = (_tsne if how == "tsne" else _umap)(first.places, begin, neighbors, state)
    return Reduced(torch.as_tensor(made, dtype=torch.float32))


def _two(places: Tensor) -> Tensor:
    """Two columns, whatever the points' width."""
    return torch.nn.functional.pad(places, (0, max(0, 2 - places.shape[1])))[:, :2]


def _tsne(points: Tensor, begin: Tensor, neighbors: int, state: int) -> Any:
    from sklearn.manifold import TSNE

    spread = begin / begin[:, 0].std().clamp(min=1e-12) * 1e-4  # small, so that the start does not become the end
    perplexity = min(2 * neighbors, (len(points) - 1) / 3)
    settings: dict[str, Any] = {"init": spread.numpy(), "learning_rate": "auto", "random_state": state, "n_jobs": 1}
    made = TSNE(perplexity=perplexity, **settings)
    return made.fit_transform(points.numpy())


def _umap(points: Tensor, begin: Tensor, neighbors: int, state: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that one thread is used, which is what makes it repeatable
        from umap import UMAP

        spread = 10 * begin / begin.abs().max().clamp(min=1e-12)
        count = min(neighbors, len(points) - 1)
        begins: Any = spread.numpy()  # which it takes, though it says that it wants a word
        made = UMAP(n_neighbors=count, init=begins, random_state=state, n_jobs=1, min_dist=0.1)
        return made.fit_transform(points.numpy())
