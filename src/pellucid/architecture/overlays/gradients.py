"""How strongly the top score depends on what each operation puts out: the norm of its gradient there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.architecture.given import Call
from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure
from pellucid.architecture.overlays.places import last_nodes, nodes_by_operation, spread
from pellucid.core.answer import Operations, follow
from pellucid.core.branches import branches_taken
from pellucid.core.errors import said
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.site import Site
from pellucid.core.slopes import slopes
from pellucid.core.structure import leaves, private, rebuilt

NO_SLOPE = "its output does not depend on the input in a way that can be differentiated."


def gradients(net: Network, tape: Tape, call: Call, graph: Graph) -> tuple[dict[str, Measure], str]:
    """The norm of the gradient of each row's top score, by operation, the root of the mean square over rows.

    The network runs once more on the whole of what it was called with: a row of the output may be a sample, the node of
    a graph, or whatever else.  Only of networks that put out rows of scores; of others nothing, with a sentence that
    says why.
    """
    nodes = nodes_by_operation(tape, graph)
    flowing = {node: tape.operations[index] for index, node in nodes.items() if _flows(tape, tape.operations[index])}
    if not flowing:
        return {}, ""
    scripted = all(op.hidden for op in flowing.values())
    watch = _Watch(tape)
    try:
        with net.lease() as model, torch.enable_grad():
            output = watch.replayed(model, call) if scripted else watch.ran(model, call)
            why = watch.differentiated(net, output)
    except Exception as error:  # whatever the way back meets, the map itself is known
        why = said(error)
    if why:
        return {}, f"No gradients: {why}"
    found = {node: watch.norm(op.site) for node, op in flowing.items() if op.site in watch.squares}
    columns = spread(found, graph, last_nodes(tape, graph))
    return {"gradient": Measure("Gradient of the top score", "", *columns, "log")}, ""


@dataclass(slots=True)
class _Watch:
    """A pass in which each value that gradients reach is listened to, so that none has to be kept.

    `starts` are the values with which a way back begins; `squares` the sums of the squared gradients, by site, 0
    where nothing comes back; `rows` the number of scores that were differentiated.
    """

    tape: Tape
    starts: list[Tensor] = field(default_factory=list)
    squares: dict[Site, float] = field(default_factory=dict)
    rows: int = 1

    def ran(self, model: nn.Module, call: Call) -> Any:
        """What the model puts out on the call's own arguments; a script in it is passed through unseen."""
        wanted = {op.site: op for op in self.tape.operations if not op.hidden and _flows(self.tape, op)}

        def see(site: Site, args: tuple[Any, ...], out: Any) -> Any:
            op = wanted.get(site)
            if op is None:
                return out
            value = next(iter(leaves(args if out is None else out)), None)  # what writes may hand nothing back
            if value is None:
                return out
            new = self._listened(op, value)
            return out if new is value else rebuilt(out, lambda v: new if v is value else v)

        args, kwargs = private((call.args, dict(call.kwargs)), self._start)
        with ExitStack() as stack:
            stack.enter_context(Operations(follow(module_paths(model), stack), see))
            stack.enter_context(branches_taken(model))
            return model(*args, **kwargs)

    def replayed(self, model: nn.Module, call: Call) -> Any:
        """What a script puts out, operation by operation as it was recorded: PyTorch shows nothing inside of one."""

        def see(op: Operation, values: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
            if not _flows(self.tape, op) or op.outputs[0] not in values:
                return {}
            return {op.outputs[0]: self._listened(op, values[op.outputs[0]])}

        return self.tape.replay(model, call.args, call.kwargs, see=see, copied=self._start)

    def _start(self, value: Tensor) -> Tensor:
        """A copy of a value that a way back begins with; not the start itself, which must not be written into."""
        value = value.clone() if value.is_inference() else value.detach()
        if not value.is_floating_point():
            return value.clone()
        self.starts.append(value.requires_grad_())
        return value.clone()

    def _listened(self, op: Operation, value: Tensor) -> Tensor:
        """What the pass goes on with: behind numbers without a slope (an embedding's) a way back begins anew."""
        if not value.requires_grad and torch.is_grad_enabled() and self._is_new(op):
            value = self._start(value)
        if value.requires_grad:
            value.register_hook(partial(self._heard, op.site))  # type: ignore[no-untyped-call]  # torch's own
        self.squares[op.site] = 0.0
        return value

    def _heard(self, site: Site, grad: Tensor | None) -> None:
        if grad is None:  # quantized operations look differentiable and are not
            return
        grad = grad.detach()
        dense = torch.cat([part.flatten() for part in grad.unbind()]) if grad.is_nested else grad.to_dense()
        self.squares[site] = float(torch.linalg.vector_norm(dense).double().square())

    def _is_new(self, op: Operation) -> bool:
        """Does it lie in memory of its own?  A copy of what shares memory would not see what is written there."""
        value = self.tape.values[op.outputs[0]]
        return all(v.storage != value.storage for v in self.tape.values[: value.id])

    def differentiated(self, net: Network, output: Any) -> str:
        """Send the sum of every row's top score back; why that cannot be done, or ''."""
        scores = net.pick(output)
        if scores.ndim != 2:
            return f"the output {tuple(scores.shape)} has no top class."
        if not scores.is_floating_point():
            return f"the output is of {str(scores.dtype).removeprefix('torch.')}, which has no slope."
        if not scores.requires_grad:
            return NO_SLOPE
        self.rows = len(scores)
        top = scores.gather(1, scores.detach().argmax(1, keepdim=True))
        return "" if slopes(net.name, top, self.starts) else NO_SLOPE

    def norm(self, site: Site) -> float:
        """The root of the mean square over rows."""
        return math.sqrt(self.squares[site] / max(1, self.rows))


def _flows(tape: Tape, op: Operation) -> bool:
    """Does it put out a floating value that depends on the input?"""
    if not op.outputs:
        return False
    value = tape.values[op.outputs[0]]
    return value.varies and value.dtype.startswith(("float", "bfloat"))
