r"""The weights of a network, tensor by tensor: norms, spectra, sparsity, histograms.

A weight of more than two axes is unfolded to a matrix, its first axis by all others; its singular values are those of
that matrix $W$.  The stable rank is $\|W\|_F^2 / \sigma_1^2$ (Rudelson and Vershynin, 2007): 1 when one direction holds
everything, as large as the smaller side when all hold the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.architecture.map import Mappable
from pellucid.core.errors import BadInput
from pellucid.core.names import named_weights
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.doors.open import open as open_network

BINS = 32
LARGEST = 1 << 22  # numbers of a matrix whose singular values are found unless asked for


@dataclass(frozen=True, slots=True, eq=False)
class WeightFacts:
    """One tensor.  `norm` is the root of the sum of squares, `zeros` the share that is exactly zero.

    `histogram` counts values in 32 equal bins from `low` to `high`.  `spectrum` are the singular values of the unfolded
    matrix, largest first; empty for vectors, and for matrices that were too large.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    norm: float
    mean: float
    spread: float
    low: float
    high: float
    zeros: float
    histogram: tuple[int, ...] = field(repr=False)
    spectrum: tuple[float, ...] = field(repr=False)

    @property
    def largest_singular(self) -> float | None:
        """How much the matrix can stretch a vector; None where the spectrum was not found."""
        return self.spectrum[0] if self.spectrum else None

    @property
    def stable_rank(self) -> float | None:
        """In how many directions the matrix is spread; None where it is zero or its spectrum was not found."""
        if not self.spectrum or not self.spectrum[0]:
            return None
        return sum(s * s for s in self.spectrum) / self.spectrum[0] ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Weights(Shown):
    """Every weight of a network, in the order of definition; `skipped` had no spectrum found because of their size."""

    network: str
    tensors: tuple[WeightFacts, ...]
    skipped: tuple[str, ...] = ()
    filters: str = ""  # the first convolution, whose filters are pictures

    @property
    def count(self) -> int:
        """How many numbers there are in all."""
        return sum(t.count for t in self.tensors)


def weights(what: Mappable | Mapping[str, Tensor], *, spectra: bool | None = None) -> Weights:
    """Norms, spectra, sparsity and histograms of every weight of a network, or of tensors by name.

    `spectra` finds singular values of all matrices, whatever their size, or of none; by default of those with up to
    four million numbers.  First-layer filters are `pl.dream.filters`, effects across layers
    `pl.dream.expanded_weights`.  Raises what `pl.open` raises, and `BadInput` when there are no weights with numbers.

    >>> found = weights(nn.Linear(3, 2, bias=False))
    >>> found.tensors[0].name, len(found.tensors[0].spectrum)
    ('weight', 2)
    """
    if isinstance(what, Mapping):
        name, tensors, filters = "weights", dict(what), ""
    else:
        net = what if isinstance(what, Network) else open_network(what)
        name, tensors = net.name, named_weights(net.model)
        convolutions = (p for p, m in net.model.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d))
        filters = next(convolutions, "")
    facts = tuple(_facts(tensors, spectra))
    if not facts:
        raise BadInput(f"{name} has no weights with numbers.", "Give a network, or tensors by name.")
    skipped = tuple(t.name for t in facts if len(t.shape) > 1 and not t.spectrum and t.count) if spectra is None else ()
    return Weights(name, facts, skipped, filters)


def _facts(tensors: Mapping[str, Any], spectra: bool | None) -> Iterator[WeightFacts]:
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not tensor.is_meta and tensor.numel() and not tensor.is_complex():
            wanted = tensor.numel() <= LARGEST if spectra is None else spectra
            yield facts_of(name, tensor.detach(), spectrum=wanted and tensor.is_floating_point())


def facts_of(name: str, tensor: Tensor, *, spectrum: bool = True) -> WeightFacts:
    """The facts of one tensor, computed in double precision.

    >>> facts = facts_of("eye", torch.eye(3))
    >>> facts.norm ** 2, facts.stable_rank, round(facts.zeros, 2)
    (2.9999999999999996, 3.0, 0.67)
    """
    v = (tensor.dequantize() if tensor.is_quantized else tensor).double().cpu()
    v = v.to_dense() if v.layout != torch.strided else v
    low, high = float(v.min()), float(v.max())
    counted = (
        torch.histc(v.flatten(), BINS, low, high)
        if low < high
        else torch.zeros(BINS).index_fill_(0, torch.tensor([BINS // 2]), v.numel())
    )
    singular = torch.linalg.svdvals(v.flatten(1)).tolist() if spectrum and v.ndim > 1 else []
    return WeightFacts(
        name,
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        v.numel(),
        float(v.norm()),
        float(v.mean()),
        float(v.std(correction=0)),
        low,
        high,
        float((v == 0).double().mean()),
        tuple(int(n) for n in counted.tolist()),
        tuple(singular),
    )
