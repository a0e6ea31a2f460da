"""An opened model: how to run it, its inputs, its preparation, its labels.  It is never altered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pellucid.core.branches import branches_taken
from pellucid.core.counts import count
from pellucid.core.double import why_not_doubled
from pellucid.core.errors import BadInput, BadModel, PellucidError
from pellucid.core.head import Head, written_head
from pellucid.core.held import parameters_of
from pellucid.core.lease import ReadOnly, borrowed, doubled, random_state_kept, tensors_of, versions
from pellucid.core.misfit import misfit
from pellucid.core.names import arguments_of, module_paths
from pellucid.core.preparation import Preparation
from pellucid.core.run import current
from pellucid.core.site import Site
from pellucid.core.tensors import finite
from pellucid.core.unwrapped import unwrapped

Reader: TypeAlias = Callable[["Network", Any], Any]
Words: TypeAlias = Callable[[Tensor], tuple[str, ...]]


class Network:
    """A torch module that can be looked at.  `pellucid.open` makes one; nothing ever changes the module.

    `inputs` are the names of `forward`'s arguments, `labels` the class names by index, `preparation` how pictures are
    prepared, `reader` what `read` calls, `output` which part of a structured output the targets speak of, `words` what
    the token ids of one sample mean, `continues` whether each position of its output says what comes next, `source` the
    name under which `pellucid.open` finds it again, `notes` what was found on the way in, `head` what its scores are,
    as far as that is known before it ran. Of a compiled or parallel model the one inside is taken. Raises `BadModel`
    when it is no module, when the weights hold no usable numbers, or when they are spread over several processes.

    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(3, 2)), labels=("cat", "dog"))
    >>> net.inputs, [str(site) for site in net.sites]
    (('input',), ['0'])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inputs: Sequence[str] | None = None,
        labels: Sequence[str] = (),
        preparation: Preparation | None = None,
        name: str = "",
        source: str = "",
        output: str | int | None = None,
        reader: Reader | None = None,
        words: Words | None = None,
        continues: bool = False,
        notes: Sequence[str] = (),
        head: Head | None = None,
    ) -> None:
        model, taken_out = unwrapped(model)
        _refuse_unusable_weights(model)
        self.model = model
        self.name = name or type(model).__name__
        self.source = source
        self.names = tuple(labels)
        self.head = head or (written_head(model) if output is None else None)
        self.preparation = preparation
        self.output = output
        self.dtypes = tuple(dict.fromkeys(p.dtype for p in model.parameters() if p.is_floating_point()))
        takes = arguments_of(model)
        self.inputs = takes.inputs if inputs is None else tuple(inputs)
        self._named_only, self._takes_any = takes.by_name, takes.others or inputs is not None
        self._by_place = takes.fit_by_place(self.inputs)
        self.words = words
        self.continues = continues
        self.borrowed_because = why_not_doubled(model)
        self.notes = (*taken_out, *notes)
        self.contiguous_only = False  # has it refused channels-last activations?
        self.remembered: dict[object, object] = {}  # facts found by running it, by what was asked
        self.reader = reader
        self._harmless = False  # has one whole pass shown that running it writes into no parameter?
        self._draws: bool | None = None  # does running it draw random numbers? None: not known yet
        self._fingerprint: tuple[object, str] = (None, "")

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names by index.  Of two names for one score, (negative, positive), it is the second's."""
        return self.names[1:] if self.negative else self.names

    @property
    def negative(self) -> str:
        """What a low score says where one score has two names, as those of Keras and scikit-learn do; else ''."""
        return self.names[0] if len(self.names) == 2 and self.head is not None and self.head.scores == 1 else ""

    @property
    def sites(self) -> tuple[Site, ...]:
        """The output of every module, in the order of definition."""
        return tuple(Site(path) for path in module_paths(self.model) if path)

    def read(self, picture: Any) -> Any:
        """A picture (file, bytes, array or PIL image) as this network's input: `[1, channels, height, width]`.

        A text, or several, for a network of words: its inputs by name.
        """
        if self.reader is None:
            raise BadInput(f"{self.name} does not say how pictures are prepared.", "Give it a tensor, or use pl.open.")
        return self.reader(self, picture)

    def label(self, index: int) -> str:
        """A class's name with its index: `tiger cat (282)`."""
        return f"{self.labels[index]} ({index})" if 0 <= index < len(self.labels) else f"class {index}"

    @contextmanager
    def lease(self, kept: nn.Module | None = None, turn: int = 0) -> Iterator[nn.Module]:
        """A module to work on for the block: a private double, or the borrowed model, restored afterwards.

        `kept`: the double of an earlier lease, to go on with.  A model that draws random numbers draws others in each
        `turn`.
        """
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            if self._draws is not False:
                stack.enter_context(random_state_kept(current().seed + turn, self._drew))
            device = next((t.device.type for t in self.model.parameters()), "cpu")
            stack.enter_context(torch.autocast(device, enabled=False))
            way = borrowed(self.model) if self.borrowed_because else doubled(self.model, kept)
            yield stack.enter_context(way)

    def _drew(self, drew: bool) -> None:
        if not self._draws:  # once seen to draw, it draws: a lease in which it did not run says nothing
            self._draws = drew if self._harmless or drew else None

    @property
    def fingerprint(self) -> str:
        """A digest of the structure and of every weight; computed once for as long as no weight changes."""
        stamp = versions(self.model)
        if self._fingerprint[0] != stamp:
            digest = hashlib.blake2b(repr(self.model).encode(), digest_size=16)
            for name, t in tensors_of(self.model).items():
                digest.update(f"{name} {tuple(t.shape)} {t.dtype}".encode())
                digest.update(_raw(t))
            self._fingerprint = (stamp, digest.hexdigest())
        return self._fingerprint[1]

    def call(self, model: nn.Module, x: dict[str, Tensor]) -> Any:
        """Run a leased module on named inputs; raises `BadInput` for what it does not take.

        Until one whole pass has shown that the model writes into none of its parameters, each write is stopped before
        it happens, with `BadModel`.  What the model itself raises comes through as it is.
        """
        known = (*self.inputs, *self._named_only)
        unknown = [k for k in x if k not in known]
        if unknown and not self._takes_any:
            raise BadInput(f"{self.name} has no input {unknown[0]!r}.", f"It takes: {', '.join(known)}.")
        try:
            with nullcontext() if self._harmless else ReadOnly(parameters_of(self.model)), branches_taken(model):
                output = model(*x.values()) if self.in_order(x) else model(**x)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            why = None if isinstance(error, PellucidError) else misfit(error, model, x)
            if why is None:
                raise
            raise why from error
        self._harmless = True
        return output

    def in_order(self, x: Mapping[str, Tensor]) -> bool:
        """Can these inputs be given by place, as they stand?"""
        return self._by_place and tuple(x) == self.inputs[: len(x)]

    def pick(self, output: Any) -> Tensor:
        """The part of the model's output that targets speak of, as a tensor."""
        if self.output is not None:
            return _part(output, self.output)
        if isinstance(output, Tensor):
            return output
        parts = parts_of(output)
        if "logits" in parts:
            return parts["logits"]
        floating = [v for v in parts.values() if v.is_floating_point()]
        if len(floating) == 1:
            return floating[0]
        shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in list(parts.items())[:8])
        raise BadModel(
            f"{self.name} puts out {type(output).__name__} with {count(len(parts), 'tensor')}: {shown or 'none'}.",
            "Say which one to explain: pl.open(model, output=NAME_OR_NUMBER).",
        )

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {count(len(self.sites), 'site')}, {count(len(self.labels), 'label')})"


def parts_of(output: Any) -> dict[str, Tensor]:
    """The tensors of a structured output, by key, field name or number."""
    if isinstance(output, Tensor):
        return {"0": output}
    if isinstance(output, dict):
        items: list[tuple[Any, Any]] = list(output.items())
    elif hasattr(output, "__dataclass_fields__"):
        items = [(k, getattr(output, k)) for k in output.__dataclass_fields__]
    elif isinstance(output, list | tuple):
        items = list(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    else:
        items = []
    return {str(k): v for k, v in items if isinstance(v, Tensor)}


def _part(output: Any, which: str | int) -> Tensor:
    parts = parts_of(output)
    if str(which) in parts:
        return parts[str(which)]
    raise BadModel(f"The model's output has no part {which!r}.", f"Its tensors: {', '.join(parts) or 'none'}.")


def _refuse_unusable_weights(model: nn.Module) -> None:
    for name, t in tensors_of(model).items():
        if isinstance(t, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
            raise BadModel(f"Weight {name!r} has no shape yet (a lazy module).", "Run the model once on real input.")
        if t.is_meta:
            raise BadModel(f"Weight {name!r} is on the meta device: it holds no numbers.", "Load the weights first.")
        # not buffers: a causal mask rightly holds minus infinity
        if type(t) is nn.Parameter and not finite(t):
            count = int((~torch.isfinite(t.detach())).sum())
            raise BadModel(f"{count} values of {name!r} are NaN or infinite.", "Load weights that finished training.")


def _raw(t: Tensor) -> bytes:
    if t.is_meta:
        return b"meta"
    row = t.detach().cpu().reshape(-1)
    row = row if row.stride(0) == 1 else row.new_empty(row.shape).copy_(row)  # one expanded number counts as contiguous
    return row.view(torch.uint8).numpy().tobytes()
