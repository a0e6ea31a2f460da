r"""The weights of a network or of a file, tensor by tensor: norms, spectra, sparsity, histograms.

A weight of more than two axes is unfolded to a matrix, its first axis by all others; its singular values are those of
that matrix $W$.  The stable rank is $\|W\|_F^2 / \sigma_1^2$ (Rudelson and Vershynin, 2007): 1 when one direction holds
everything, as large as the smaller side when all hold the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pellucid.architecture.map import Mappable
from pellucid.architecture.stored import is_file_of_weights
from pellucid.architecture.unrun import is_onnx
from pellucid.architecture.weight_facts import WeightFacts, facts_of, facts_of_entry
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.names import is_random_state, named_weights
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.doors.onnx import load
from pellucid.doors.onnx.running.roles import is_shape
from pellucid.doors.onnx.running.values import tensor as read
from pellucid.doors.open import open as open_network
from pellucid.doors.weight_files.entries import Listing
from pellucid.doors.weight_files.gguf_blocks import BOOKS
from pellucid.doors.weight_files.listing import listed

LARGEST = 1 << 22  # numbers of a matrix whose singular values are found unless asked for


@dataclass(frozen=True, slots=True, eq=False)
class Weights(Shown):
    """Every weight of a network or a file, in its order; `skipped` had no spectrum found because of their size.

    `metadata` is what a file says about itself, `notes` what a reader should know.
    """

    network: str
    tensors: tuple[WeightFacts, ...]
    skipped: tuple[str, ...] = ()
    filters: str = ""  # the first convolution, whose filters are pictures
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many numbers there are in all."""
        return sum(t.count for t in self.tensors)


def weights(what: Mappable | Mapping[str, Tensor], *, spectra: bool | None = None) -> Weights:
    """Norms, spectra, sparsity and histograms of every weight of a network, of a file, or of tensors by name.

    A file needs no architecture: PyTorch checkpoints, safetensors (also in parts), GGUF, NumPy archives, HDF5 and
    folders of Hugging Face are read as they are, a tensor at a time, large ones piece by piece; other files are opened
    (an ONNX file with operators that are not known is read as it is too).
    GGUF's packed numbers are unpacked in blocks; those of its types iq1 to iq3 where the package `gguf` is installed.
    Tensors that are not unpacked have names, shapes and types, NaN for everything else, and a note that says so.

    `spectra` finds singular values of all matrices, whatever their size, or of none; by default of those with up to
    four million numbers.  First-layer filters are `pl.dream.filters`, effects across layers
    `pl.dream.expanded_weights`.  Raises what `pl.open` raises, and `BadInput` when there are no weights with numbers.

    >>> found = weights(nn.Linear(3, 2, bias=False))
    >>> found.tensors[0].name, len(found.tensors[0].spectrum)
    ('weight', 2)
    """
    if isinstance(what, str | Path) and is_file_of_weights(what):
        return _of_listing(listed(what), spectra)
    if isinstance(what, Mapping):
        return _finished(Weights("weights", tuple(_facts(what, spectra))), spectra)
    try:
        net = what if isinstance(what, Network) else open_network(what)
    except BadModel as why:
        if not isinstance(what, str | Path) or not is_onnx(what):
            raise
        return _finished(_of_onnx(Path(what), why, spectra), spectra)
    convolutions = (p for p, m in net.model.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d))
    held = {name: v for name, v in named_weights(net.model).items() if not is_random_state(name)}
    facts = tuple(_facts(held, spectra))
    return _finished(Weights(net.name, facts, filters=next(convolutions, "")), spectra)


def _of_onnx(path: Path, why: BadModel, spectra: bool | None) -> Weights:
    """The stored tensors of an ONNX file that cannot be run; raises `BadModel` for one that cannot be read either."""
    graph = load(path).graph
    bodies = (body for node in graph.walk() for body in node.bodies.values())
    stored = {
        w.name: w for g in (graph, *bodies) for w in g.weights.values() if w.dtype != "string" and not is_shape(w)
    }
    facts = (f for w in stored.values() for f in _facts({w.name: read(w)}, spectra))
    return Weights(path.stem, tuple(facts), notes=(f"Read from {path.name} without what it computes: {why.what}",))


def _of_listing(file: Listing, spectra: bool | None) -> Weights:
    facts = tuple(facts_of_entry(e, e.count <= LARGEST if spectra is None else spectra) for e in file.entries)
    notes = [f"Read from {file.path.name}, {file.kind}.", *file.notes]
    packed = sorted({t.dtype for t in facts if t.count and t.norm != t.norm and not t.bad})
    if packed:
        notes.append(f"Numbers stored as {', '.join(packed)} are not unpacked: of those tensors only shapes are known.")
    if any(kind in BOOKS for kind in packed):
        notes.append("pip install gguf, and those that begin with iq are unpacked too.")
    return _finished(Weights(file.path.name, facts, (), "", tuple(notes), file.metadata), spectra)


def _finished(found: Weights, spectra: bool | None) -> Weights:
    if not found.tensors:
        raise BadInput(f"{found.network} has no weights with numbers.", "Give a network, a file, or tensors by name.")
    if spectra is not None:
        return found
    return replace(found, skipped=tuple(t.name for t in _skipped(found.tensors)))


def _skipped(facts: Iterable[WeightFacts]) -> Iterator[WeightFacts]:
    """Matrices of numbers that are all there, and so many that nobody looked for their spectrum."""
    return (t for t in facts if len(t.shape) > 1 and t.count > LARGEST and t.norm == t.norm and not t.bad)


def _facts(tensors: Mapping[str, Any], spectra: bool | None) -> Iterator[WeightFacts]:
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not tensor.is_meta and tensor.numel() and not tensor.is_complex():
            wanted = tensor.numel() <= LARGEST if spectra is None else spectra
            yield facts_of(name, tensor.detach(), spectrum=wanted and tensor.is_floating_point())
