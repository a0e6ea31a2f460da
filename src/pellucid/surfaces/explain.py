"""The front door: explain, compare, check, record and load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid import methods as methods_package
from pellucid.checks.card import Trust, budget_of, trust_card
from pellucid.checks.faithfulness import faithfulness
from pellucid.checks.ranking import Standing, ranking
from pellucid.core.as_trained import unlike_training
from pellucid.core.errors import BadInput, BadModel, BadOption, PellucidError, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.option import checked
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.picture import Picture
from pellucid.doors.pictures.reading import read, reading, refuse_alone
from pellucid.doors.transformers.text import text_of
from pellucid.surfaces.choose import BLIND, CANDIDATES, most_faithful
from pellucid.trials.layout import layout_of, score_of
from pellucid.trials.probed import ProbeSet, probe_set
from pellucid.trials.regions import region
from pellucid.trials.sample import mapped
from pellucid.trials.yardsticks import Guesses, own_guesses

# What a comparison of all methods gives to those that would otherwise take thousands of passes each.
BRIEFLY: Mapping[str, Mapping[str, Any]] = {
    "extremal_perturbation": {"steps": 40},
    "hsic": {"masks": 256},
    "integrated_hessians": {"steps": 4, "cells": 2},
    "kernel_shap": {"samples": 256},
    "lime": {"samples": 256},
    "partition_shap": {"most": 256},
    "rise": {"masks": 256},
    "sequential_integrated_gradients": {"steps": 16, "cells": 2},
    "shapley_interactions": {"samples": 256},
    "shapley_sampling": {"pairs": 3},
    "sobol": {"designs": 8},
    "xrai": {"steps": 16},
}


@dataclass(frozen=True, slots=True)
class Comparison(Shown):
    """Explanations of one prediction, the most faithful first, and what was left out, with why: `skipped`.

    `standings` say which of them cannot be told apart; empty where nothing could be ranked.
    """

    explanations: tuple[Explanation, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    standings: tuple[Standing, ...] = ()

    @property
    def best(self) -> Explanation:
        """The most faithful one."""
        return self.explanations[0]


def explain(
    net: Network | nn.Module | str | Callable[..., Any],
    x: Inputs | str | Path | Picture,
    target: Target | int | str | None = None,
    *,
    method: str | None = None,
    at: Site | str | None = None,
    options: Mapping[str, Any] | None = None,
    mask: Tensor | None = None,
    trust: Trust = "standard",
) -> Explanation:
    """Why did the network say that?  A map of the evidence with its measured trust card.

    `net` is a network, or what `pellucid.open` takes; `x` a tensor, a picture or its file, or a text.  Without a
    `target` the top class is explained; without a `method`, several race and the most faithful one for this network and
    input is kept.  With `at`, the value at that inner site is explained in the place of the input.
    `mask` (`[height, width]`, bool) is where the evidence should be, if that is known.  `trust` is how much testing it
    is worth: "quick" runs 64 masked copies, "standard" up to 256 and seven more explanations, "thorough" up to 1024,
    and more methods race.  Raises the package's errors, before heavy work, for anything that does not fit.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.explain(net, torch.rand(1, 3, 16, 16), 2, method="grad_cam").method
    'grad_cam'
    """
    budget_of(trust)
    if options and method is None:
        raise BadOption("Options were given without a method.", "Name the method that they belong to.")
    if method is not None:
        _refuse_unknown({method: options or {}})
    network = _network(net)
    given, said = _input(network, x)
    if mask is not None:
        _refuse_misfit(mask, network, as_tensors(given, network.inputs))
    if method is None:
        e = most_faithful(_candidates(network, given, target, at, trust), trust)
    else:
        e = _method(method)(network, given, target, at, **(options or {}))
    return check(replace(e, notes=(*said, *e.notes)), mask=mask, trust=trust)


def check(
    explanation: Explanation,
    *,
    trust: Trust = "standard",
    mask: Tensor | None = None,
    probes: int | Sequence[ProbeSet] | None = None,
    guesses: Guesses | None = None,
    which: Sequence[str] | None = None,
) -> Explanation:
    """The same explanation with its trust card: how far it can be believed, measured on the model itself.

    `trust` is how much testing it is worth, as for `explain`; `mask` (`[height, width]` or `[batch, height, width]`,
    bool) where the evidence should be; `probes` how many masked copies test the map, at least 16, whatever `trust`
    says; `guesses` maps of your own, by name, that it has to beat, a number a place; `which` names other measures than
    the card's (`pellucid.checks`).  Raises `BadInput` when the mask or a guess does not fit the input.  A test that
    cannot be made is UNKNOWN and says why.

    >>> import torch, pellucid as pl
    >>> e = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> pl.check(e).checks[0].verdict.value
    'holds'
    """
    if mask is not None:
        _refuse_misfit(mask, explanation.net, explanation.x)
    if guesses:
        own_guesses(guesses, mapped(explanation)[0], batch_size(explanation.x))  # at once, and not as a check's answer
    card = trust_card(explanation, trust=trust, probes=probes, mask=mask, guesses=guesses, which=which)
    return explanation.with_checks(card)


def compare(
    net: Network | nn.Module | str | Callable[..., Any],
    x: Inputs | str | Path | Picture,
    target: Target | int | str | None = None,
    *,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    at: Site | str | None = None,
    trust: Trust = "standard",
    probes: int | None = None,
) -> Comparison:
    """Which method should I believe here?  All that apply, ranked by measured faithfulness on the same masked copies.

    `methods` are names, or names with options; `at` an inner site to explain in the place of the input.  By default
    all methods take part, those that sample masks or coalitions with fewer than they take alone (`BRIEFLY`), so that it
    is a matter of a minute or two on a photograph.  `trust` is how many masked copies tell them apart, 64, 128 or 256,
    or as `probes` says.
    Methods that do not apply are listed with the reason; if the input
    cannot be probed, nothing is ranked, and that is listed too.  Raises `BadModel` when no method applies, and
    `BadOption` for methods and options that there are not.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(9, 1))
    >>> found = pl.compare(net, torch.ones(1, 9), 0, methods=["input_x_gradient", "grad_cam"])
    >>> found.best.method, [name for name, why in found.skipped]
    ('input_x_gradient', ['grad_cam'])
    """
    wanted = {name: BRIEFLY.get(name, {}) for name in methods_package.all_methods()} if methods is None else methods
    asked: Mapping[str, Mapping[str, Any]] = wanted if isinstance(wanted, Mapping) else {name: {} for name in wanted}
    _refuse_unknown(asked)
    network = _network(net)
    given, said = _input(network, x)
    found, skipped = _explained(network, given, target, at, asked)
    found = [replace(e, notes=(*said, *e.notes)) for e in found]
    try:
        shared = probe_set(score_of(found[0]), found[0].explained, probes or budget_of(trust).count)
    except PellucidError as why:  # stopped, or an input that cannot be probed
        return Comparison(tuple(found), (*skipped, ("ranking", f"The methods could not be ranked. {why.what}")))
    scored = [e.with_checks((faithfulness(e, probes=shared),)) for e in found]
    standings = ranking([list(shared[0].layout.map_of(e)) for e in found], shared)
    order = sorted(range(len(found)), key=lambda i: -standings[i].r if standings[i].r == standings[i].r else 2.0)
    return Comparison(tuple(scored[i] for i in order), tuple(skipped), tuple(standings[i] for i in order))


def record(net: Network | nn.Module | str, *inputs: Any, fake: bool = False, **named: Any) -> Tape:
    """The tape of one forward pass: every operation, its shapes, parameters, cost and receptive field.

    With `fake`, no number is computed and no weight is needed, so a network larger than memory can be mapped.

    >>> import torch, pellucid as pl
    >>> tape = pl.record(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()), torch.ones(1, 2))
    >>> [op.name for op in tape.operations]
    ['linear', 'relu']
    """
    network = _network(net)
    with network.lease() as model, torch.no_grad():
        return record_module(model, inputs, named, fake=fake, paths=module_paths(model))


def _network(net: Network | nn.Module | str | Callable[..., Any]) -> Network:
    return net if isinstance(net, Network) else open_network(net)


def _input(net: Network, x: Inputs | str | Path | Picture) -> tuple[Inputs, tuple[str, ...]]:
    """The input, and what has to be said about how a picture was read."""
    if not isinstance(x, str | Path | Picture):
        far = unlike_training(net, as_tensors(x, net.inputs))
        return x, (far,) if far else ()
    if net.reader is read:
        refuse_alone(net, x)
    if net.preparation is None or len(net.inputs) > 1:
        if net.words is not None and not isinstance(x, Picture):
            return net.read(text_of(net, x)), ()
        return net.read(x), ()
    found = reading(net, x)
    return found.x, found.notes


def _method(name: str) -> Any:
    known = methods_package.all_methods()
    if name not in known:
        raise BadOption(f"There is no method {name!r}.", f"Methods: {', '.join(known)}.")
    return known[name]


def _refuse_unknown(asked: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `BadOption` for methods and options that there are not, before anything is opened or run."""
    for name, options in asked.items():
        checked(_method(name).options, options, name)


def _refuse_misfit(mask: Tensor, net: Network | None, x: Tensors) -> None:
    """Raise `BadInput` for a mask that no map of this input could be held against."""
    layout = layout_of(net, x)
    if layout.kind != "picture":
        raise BadInput(f"A mask was given, but the input is a {layout.kind}, not a picture.", "Leave it out.")
    region(mask, layout, batch_size(x))


def _candidates(
    net: Network, x: Inputs, target: Target | int | str | None, at: Site | str | None, trust: Trust
) -> list[Explanation]:
    """What those methods found that are worth a race; where none applies, those that need no look inside."""
    try:
        return _explained(net, x, target, at, CANDIDATES[trust])[0]
    except BadModel:
        with suppress(BadModel):
            return _explained(net, x, target, at, BLIND)[0]
        raise


def _explained(
    net: Network,
    x: Inputs,
    target: Target | int | str | None,
    at: Site | str | None,
    asked: Mapping[str, Mapping[str, Any]],
) -> tuple[list[Explanation], list[tuple[str, str]]]:
    found: list[Explanation] = []
    skipped: list[tuple[str, str]] = []
    first: PellucidError | None = None
    for name, options in asked.items():
        try:
            found.append(_method(name)(net, x, target, at, **options))
            target = found[0].of  # the top class is looked up once
        except Stopped as why:
            if not found:
                raise
            skipped.append((name, why.what))
        except (BadInput, BadModel, BadOption) as why:
            skipped.append((name, why.what))
            first = first or why
    if not found:
        hint, typed = (first.hint, first.typed) if first is not None else ("", "")
        lists = "pellucid methods lists what each one needs."
        raise BadModel(f"No method applies to {net.name}: {skipped[0][1]}", hint or lists, typed or lists)
    return found, skipped
