"""Passes that look at attention: which attention a network runs, its weights, and the score's gradient on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pellucid.core.answer import Answer, Change, ask, follow
from pellucid.core.attention.catch import Attending, Attention, Keep
from pellucid.core.errors import BadModel
from pellucid.core.names import module_paths
from pellucid.core.operations.uncovered import operations_without_rule
from pellucid.core.replaced import at_embeddings
from pellucid.core.run import Meter, current, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, rows

Read: TypeAlias = Callable[[Sequence[Attention]], Tensors]


@dataclass(frozen=True, slots=True)
class Attends:
    """An attention operation as one sample runs it.

    `after` are the numbers of those operations that it depends on.  `sequence`: does the network hold one vector for
    each of the queries and of the keys, as it does for tokens and does not for channels?  `block` is the largest module
    around it that holds no other attention and puts out one vector a query, where each attention has such a one.
    """

    site: Site
    heads: int
    queries: int
    keys: int
    windows: int
    after: frozenset[int]
    sequence: bool = True
    block: Site | None = None


def attention_of(f: Score, x: Tensors) -> tuple[Attends, ...]:
    """The attention operations that run on inputs of this shape, in order; found by one pass and remembered.

    Those that run after the last site that the target speaks of are not among them.  Raises `BadModel` when there is
    none.
    """
    key = ("attention", f.target.sites, f.target.whole, tuple((k, tuple(v.shape[1:])) for k, v in x.items()))
    found = f.net.remembered.get(key)
    if not isinstance(found, tuple):
        found = f.net.remembered[key] = _look(f, rows(x, 0, 1))
    if not found:
        raise BadModel(
            f"{f.net.name} runs no attention that can be seen: no scaled_dot_product_attention, no multi-head "
            "attention, and no softmax whose result averages values.",
            "This method reads attention weights; use grad_cam, integrated_gradients or occlusion.",
        )
    return found


def attention(
    f: Score, x: Tensors, read: Read, *, since: int | None = None, keep: Keep = lambda weights: weights
) -> Tensors:
    """What `read` makes of the attention of each pass, samples first; passes are sized to fit in memory.

    From operation number `since` on there are gradients (None: nowhere); of the operations before, `keep` is kept.
    """

    def one(g: Score, part: Tensors, numbers: Tensor) -> Tensors:
        caught: list[Attending] = []
        answer, score = g.scored(part, numbers, under=partial(_catching, g, len(numbers), since, keep, caught))
        del answer
        found = caught[-1].found
        return read(found if since is None else _with_gradients(g, score, found))

    what = "forward passes" if since is None else "gradient passes"
    return next(f.passes([x], one, what, backward=since is not None))


def attention_layer_by_layer(f: Score, x: Tensors, blocks: Sequence[Site], read: Read) -> Tensors:
    """As `attention`, but for the gradients: on each operation it is that of a score of its own.

    That score is read from its own block's output, given to what follows the last block in place of the last block's.
    All are read in one pass: what follows the last block runs on the outputs of all of them.
    """

    def one(g: Score, part: Tensors, numbers: Tensor) -> Tensors:
        caught: list[Attending] = []
        with _catching(g, len(numbers), 0, lambda weights: weights, caught):
            score, kept, stacked = _read_out(g, part, numbers, blocks)
        current().meter.forwards += len(numbers)
        current().meter.backwards += len(numbers)
        found = caught[-1].found
        if len(found) != len(blocks):
            raise BadModel(f"{g.net.name} runs {len(found)} attention operations here, {len(blocks)} before.")
        if not score.requires_grad:
            return read(found)
        (slopes,) = torch.autograd.grad(score.sum(), [stacked], retain_graph=True)  # each row's is its own layer's
        return read(
            [
                _with_gradient(a, _gradients(z, [a], slope)[0])
                for a, z, slope in zip(found, kept, slopes.chunk(len(blocks)), strict=True)
            ]
        )

    return next(f.passes([x], one, "gradient passes", backward=True))


def blocks_of(f: Score, x: Tensors, attends: Sequence[Attends]) -> tuple[Site, ...]:
    """The block around each attention, where what follows the last one can be run on any of them; else nothing."""
    blocks = tuple(a.block for a in attends if a.block is not None)
    tokens = {n for a in attends for n in (a.queries, a.keys)}
    if len(blocks) < len(attends) or len(tokens) > 1 or f.target.sites or f.rules or f.changes:
        return ()
    key = ("layer by layer", blocks, str(f.target), tuple((k, tuple(v.shape[1:])) for k, v in x.items()))
    fits = f.net.remembered.get(key)
    if fits is None:
        fits = f.net.remembered[key] = _reads_out(f, rows(x, 0, 1), blocks)
    return blocks if fits else ()


def _reads_out(f: Score, x: Tensors, blocks: Sequence[Site]) -> bool:
    """Does what follows the blocks take several outputs at once?  Tried with a sample twice, where so many may run."""
    times = 1 if current().max_batch == 1 else 2
    several = {k: v.repeat(times, *[1] * (v.ndim - 1)) for k, v in x.items()}
    with f.net.lease() as model, torch.no_grad():
        try:
            _read_out(replace(f, model=model), several, torch.zeros(times, dtype=torch.long), blocks)
        except (RuntimeError, ValueError, IndexError, AssertionError, BadModel):
            return False
    return True


def _read_out(f: Score, x: Tensors, numbers: Tensor, blocks: Sequence[Site]) -> tuple[Tensor, list[Tensor], Tensor]:
    """The score from each block's output, layer by layer, those outputs, and all of them as one batch."""
    assert f.model is not None  # noqa: S101 (runs inside `passes`)
    kept: list[Tensor] = []
    stacked: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        kept.append(value)
        return value.clone()  # the next block may write into it

    def last(value: Tensor) -> Tensor:
        kept.append(value)
        stacked.append(torch.cat(kept))
        return stacked[0].clone()

    taps: dict[Site, Change] = {**dict.fromkeys(blocks[:-1], note), blocks[-1]: last}
    given, changes = at_embeddings(x, f.embedded)
    several = numbers.repeat(len(blocks))
    answer: Answer = ask(f.net, f.model, given, changes={**changes, **taps}, rows=several)
    return f.target.of(answer), kept, stacked[0]


@contextmanager
def _catching(f: Score, samples: int, since: int | None, keep: Keep, caught: list[Attending]) -> Iterator[None]:
    assert f.model is not None  # noqa: S101 (runs inside `passes`)
    with ExitStack() as stack:
        mode = Attending(follow(module_paths(f.model), stack), samples, since, keep)
        caught.append(mode)
        with mode:
            yield


def _with_gradients(f: Score, score: Tensor, found: Sequence[Attention]) -> list[Attention]:
    meter = current().meter
    meter.backwards += len(score)
    if f.rules and score.requires_grad:
        meter.without_rule |= operations_without_rule(score, f.rules)
    return [_with_gradient(a, g) for a, g in zip(found, _gradients(score, found), strict=True)]


def _gradients(of: Tensor, found: Sequence[Attention], slope: Tensor | None = None) -> list[Tensor | None]:
    """The gradient on each operation's raw weights, None where there is none; of a sum weighted by `slope`."""
    raws = [a.raw for a in found if a.raw is not None and a.raw.requires_grad]
    if not raws or not of.requires_grad:
        return [None] * len(found)
    start = torch.ones_like(of) if slope is None else slope
    grads = iter(torch.autograd.grad(of, raws, start, allow_unused=True, retain_graph=slope is not None))
    return [next(grads) if a.raw is not None and a.raw.requires_grad else None for a in found]


def _with_gradient(a: Attention, grad: Tensor | None) -> Attention:
    return a if grad is None else replace(a, grad=a.in_heads(grad))


def _look(f: Score, x: Tensors) -> tuple[Attends, ...]:
    """Run one sample, on a lease of its own: what this pass draws or counts is its own."""
    ends: dict[str, list[tuple[int, ...]]] = {}

    def end(path: str, _module: nn.Module, _args: Any, out: Any) -> None:
        first = out[0] if isinstance(out, tuple | list) and out else out
        ends.setdefault(path, []).append(tuple(first.shape) if isinstance(first, Tensor) else ())

    with f.net.lease() as model, ExitStack() as stack:
        modules = module_paths(model)
        mode = Attending(follow(modules, stack), 1, 0)
        for path, module in modules.items():
            if path and not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_hook(partial(end, path)).remove)
        with running(replace(current(), meter=Meter())), torch.enable_grad(), mode:
            replace(f, model=model)._ask(x, torch.zeros(1, dtype=torch.long))
        after = _dependence([a.raw for a in mode.found])
        blocks = _blocks(mode.found, ends)
        sequence = [mode.lengths.issuperset(a.weights.shape[2:]) for a in mode.found]
        return tuple(_attends(*found) for found in zip(mode.found, after, sequence, blocks, strict=True))


def _attends(a: Attention, after: frozenset[int], sequence: bool, block: Site | None) -> Attends:
    _, heads, queries, keys = a.weights.shape
    return Attends(a.site, heads, queries, keys, a.windows, after, sequence, block)


def _dependence(raws: Sequence[Tensor | None]) -> list[frozenset[int]]:
    """For each of the weights, in the order of running, the numbers of those that they were computed from."""
    numbers: dict[Any, int] = {}
    found: list[frozenset[int]] = []
    for i, raw in enumerate(raws):
        if raw is None or not raw.requires_grad:
            found.append(frozenset())
            continue
        node = torch.autograd.graph.get_gradient_edge(raw).node
        found.append(_behind(node, numbers, found))
        numbers[node] = i
    return found


def _behind(node: Any, numbers: dict[Any, int], known: list[frozenset[int]]) -> frozenset[int]:
    met, waiting, found = {node}, [parent for parent, _ in node.next_functions], set[int]()
    while waiting:
        here = waiting.pop()
        if here is None or here in met:
            continue
        met.add(here)
        if here in numbers:
            found |= {numbers[here], *known[numbers[here]]}
        else:
            waiting.extend(parent for parent, _ in here.next_functions)
    return frozenset(found)


def _blocks(found: Sequence[Attention], ends: dict[str, list[tuple[int, ...]]]) -> list[Site | None]:
    paths = [a.site.path for a in found]
    blocks: list[Site | None] = []
    widths = set[tuple[int, ...]]()
    for a in found:
        parts = a.site.path.split(".")
        around = (".".join(parts[: i + 1]) for i in range(len(parts)))
        tokens = a.weights.shape[2]
        block = next((p for p in around if _holds_one(p, paths) and _is_tokens(ends.get(p, []), tokens)), None)
        if block:
            widths.add(ends[block][0])
        blocks.append(Site(block) if block else None)
    return blocks if None not in blocks and len(widths) == 1 else [None] * len(blocks)


def _holds_one(path: str, attending: Sequence[str]) -> bool:
    return bool(path) and sum(p == path or p.startswith(path + ".") for p in attending) == 1


def _is_tokens(shapes: Sequence[tuple[int, ...]], tokens: int) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][:2] == (1, tokens)
