"""Ensembles of trees, in the form of every operator set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.forest import COMPARISONS, Forest, checked
from pellucid.doors.onnx.running.operators.ml import DOMAIN, classes, listed, named, numbers, opposed, rows, transformed
from pellucid.doors.onnx.running.registry import operator

_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def _forest(node: Node, prefix: str, targets: int) -> Forest:
    """From nodes that name their children by tree and number; `prefix` is that of the attributes about leaves."""
    if "forest" in node.fixed:
        return node.fixed["forest"]  # type: ignore[no-any-return]
    keys = list(zip(listed(node, "nodes_treeids"), listed(node, "nodes_nodeids"), strict=True))
    place, modes = {key: i for i, key in enumerate(keys)}, [COMPARISONS[m] for m in listed(node, "nodes_modes")]
    leaf = [mode == 7 for mode in modes]
    ways = list[list[int]]()
    for side in ("true", "false"):
        children = listed(node, f"nodes_{side}nodeids")
        ways.append([i if leaf[i] else place.get((keys[i][0], child), -1) for i, child in enumerate(children)])
    below = {child for way in ways for i, child in enumerate(way) if not leaf[i]}
    roots = [i for i in range(len(keys)) if i not in below]
    features = listed(node, "nodes_featureids")
    depth = checked(ways[0], ways[1], leaf, roots)
    if len(roots) != len({keys[i][0] for i in roots}) or {t for t, _ in keys} != {keys[i][0] for i in roots}:
        raise BadModel("A tree of the model has no root, or several.", "Export the model again.")
    values, has = _said(node, prefix, place, targets)
    missing = listed(node, "nodes_missing_value_tracks_true") or [0] * len(keys)
    found = Forest(
        torch.tensor(roots),
        torch.tensor(features),
        torch.tensor(listed(node, "nodes_values"), dtype=torch.float64),
        torch.tensor(modes),
        torch.tensor(ways[0]),
        torch.tensor(ways[1]),
        torch.tensor(missing, dtype=torch.bool),
        values,
        has,
        {},
        depth,
    )
    node.fixed["forest"] = found
    return found


def _said(node: Node, prefix: str, place: dict[Any, int], targets: int) -> tuple[Tensor, Tensor]:
    """What each node adds to each target, and whether it does."""
    values = torch.zeros(len(place), targets, dtype=torch.float64)
    has = torch.zeros(len(place), targets, dtype=torch.bool)
    names = [listed(node, f"{prefix}_{part}") for part in ("treeids", "nodeids", "ids", "weights")]
    for tree, number, target, weight in zip(*names, strict=True):
        if (tree, number) not in place or not 0 <= target < targets:
            raise BadModel(
                "A tree of the model has a value for a leaf or target that is not there.", "Export it again."
            )
        values[place[tree, number], target] += weight
        has[place[tree, number], target] = True
    return values, has


@operator("TreeEnsembleRegressor", domain=DOMAIN)
def regress(node: Node, x: Tensor) -> Tensor:
    """What the leaves say, added up (or their mean, least, greatest), for each target: `[samples, targets]`."""
    x, count = rows(x), node.get("n_targets", 1)
    total = _forest(node, "target", count).total(x, node.get("aggregate_function", "SUM"))
    base = numbers(node, "base_values", x)
    out = transformed(total + base if len(base) else total, node.get("post_transform", "NONE"))
    return out.to(torch.float32)


@operator("TreeEnsembleClassifier", domain=DOMAIN)
def classify(node: Node, x: Tensor) -> tuple[Any, Tensor]:
    """The class that most weight falls to, and the scores of all classes."""
    x, labels, how = rows(x), classes(node), node.get("post_transform", "NONE")
    scores = _forest(node, "class", len(labels)).total(x, "SUM")
    base, said = numbers(node, "base_values", x), sorted(set(listed(node, "class_ids")))
    if len(labels) == 2 and len(said) == 1:  # one number says both
        score = scores[:, said[0] : said[0] + 1]
        score = score + base[-1] if len(base) else score
        shares = min(listed(node, "class_weights"), default=0.0) >= 0
        which = (score[:, 0] > (0.5 if shares else 0.0)).to(torch.int64)
        return named(labels, which), opposed(score, how, shares).to(torch.float32)
    scores = scores + base if len(base) else scores
    return named(labels, scores.argmax(-1)), transformed(scores, how).to(torch.float32)


@operator("TreeEnsemble", since=5, domain=DOMAIN)
def ensemble(node: Node, x: Tensor) -> Tensor:
    """The newer form, in which leaves have a table of their own."""
    x = rows(x)
    total = _newer(node).total(x, _AGGREGATES[node.get("aggregate_function", 1)])
    return transformed(total, _TRANSFORMS[node.get("post_transform", 0)])


def _newer(node: Node) -> Forest:
    if "forest" in node.fixed:
        return node.fixed["forest"]  # type: ignore[no-any-return]
    features, modes = listed(node, "nodes_featureids"), listed(node, "nodes_modes")
    inner, outer = len(features), len(listed(node, "leaf_targetids"))
    itself = range(inner, inner + outer)
    ways = list[list[int]]()
    for side in ("true", "false"):
        ends, children = listed(node, f"nodes_{side}leafs"), listed(node, f"nodes_{side}nodeids")
        ways.append([child + inner * bool(end) for child, end in zip(children, ends, strict=True)] + list(itself))
    # A tree of one leaf is written as a node both of whose branches are that leaf.
    single = [ways[0][i] == ways[1][i] >= inner for i in range(inner)]
    roots = [ways[0][i] if single[i] else i for i in listed(node, "tree_roots")]
    leaf = [False] * inner + [True] * outer
    depth = checked(ways[0], ways[1], leaf, roots)
    targets = node.get("n_targets", 1)
    values = torch.zeros(inner + outer, targets, dtype=torch.float64)
    which = torch.tensor(listed(node, "leaf_targetids"))
    values[torch.arange(inner, inner + outer), which] = torch.tensor(listed(node, "leaf_weights"), dtype=torch.float64)
    has = torch.zeros_like(values, dtype=torch.bool)
    has[torch.arange(inner, inner + outer), which] = True
    missing = listed(node, "nodes_missing_value_tracks_true") or [0] * inner
    found = Forest(
        torch.tensor(roots),
        torch.tensor([*features, *[0] * outer]),
        torch.tensor([*listed(node, "nodes_splits"), *[0.0] * outer], dtype=torch.float64),
        torch.tensor([*modes, *[7] * outer]),
        torch.tensor(ways[0]),
        torch.tensor(ways[1]),
        torch.tensor([*missing, *[0] * outer], dtype=torch.bool),
        values,
        has,
        _members(node, modes),
        depth,
    )
    node.fixed["forest"] = found
    return found


def _members(node: Node, modes: list[int]) -> dict[int, Tensor]:
    """The set of each node that asks for membership; sets follow one another, each closed by a NaN."""
    sets, current = list[list[float]](), list[float]()
    for value in listed(node, "membership_values"):
        if value != value:
            sets.append(current)
            current = []
        else:
            current.append(value)
    asking = [i for i, mode in enumerate(modes) if mode == 6]
    if len(asking) != len(sets):
        raise BadModel(f"{len(asking)} nodes of a tree ask for {len(sets)} sets.", "Export the model again.")
    return {i: torch.tensor(found, dtype=torch.float64) for i, found in zip(asking, sets, strict=True)}
