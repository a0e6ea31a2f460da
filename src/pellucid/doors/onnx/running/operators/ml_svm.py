"""Support vector machines: sums of kernels, which have gradients."""

from __future__ import annotations

from itertools import combinations
from math import ceil
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.ml import DOMAIN, classes, named, numbers, opposed, rows, transformed
from pellucid.doors.onnx.running.registry import operator


def _kernel(node: Node, x: Tensor, vectors: Tensor) -> Tensor:
    """How alike each sample is to each vector: `[samples, vectors]`."""
    gamma, offset, degree = (*numbers(node, "kernel_params", x).tolist(), 0.0, 0.0, 0.0)[:3]
    kind = node.get("kernel_type", "LINEAR")
    if kind == "RBF":
        return torch.exp(-gamma * (x.unsqueeze(1) - vectors).square().sum(-1))
    product: Tensor = x @ vectors.t()
    if kind == "LINEAR":
        return product
    if kind == "POLY":
        return torch.pow(gamma * product + offset, degree)
    if kind == "SIGMOID":
        return torch.tanh(gamma * product + offset)
    raise BadModel(f"A support vector machine has the kernel {printable(kind, 40)!r}.", "Export it with another one.")


@operator("SVMRegressor", domain=DOMAIN)
def regress(node: Node, x: Tensor) -> Tensor:
    """One value a sample; 1 or -1 when it tells its one class from all else."""
    x = rows(x)
    weights, rho, count = numbers(node, "coefficients", x), numbers(node, "rho", x), node.get("n_supports", 0)
    if count:
        total = _kernel(node, x, numbers(node, "support_vectors", x).reshape(count, -1)) @ weights
    else:
        total = _kernel(node, x, weights.reshape(1, -1)).squeeze(-1)
    out = (total + rho[0]).unsqueeze(-1)
    if node.get("one_class", 0):
        return torch.where(out > 0, 1.0, -1.0).to(out.dtype)
    return transformed(out, node.get("post_transform", "NONE"))


@operator("SVMClassifier", domain=DOMAIN)
def classify(node: Node, x: Tensor) -> tuple[Any, Tensor]:
    """The class that wins most comparisons (or is likeliest), and the comparisons (or likelihoods)."""
    x, labels, how = rows(x), classes(node), node.get("post_transform", "NONE")
    counts = list(node.get("vectors_per_class", ()))
    if not counts or not sum(counts):
        weights = numbers(node, "coefficients", x).reshape(len(labels), -1)
        scores = _kernel(node, x, weights) + numbers(node, "rho", x)[0]
        return named(labels, scores.argmax(-1)), transformed(scores, how)
    scores = _compared(node, x, counts)
    slope, shift = numbers(node, "prob_a", x), numbers(node, "prob_b", x)
    if len(slope):
        shares = coupled(torch.sigmoid(-(scores * slope + shift)), len(counts))
        return named(labels, shares.argmax(-1)), transformed(shares, how)
    votes = x.new_zeros(len(x), len(counts))
    for k, (i, j) in enumerate(combinations(range(len(counts)), 2)):
        won = (scores[:, k] > 0).to(x.dtype)
        votes[:, i] += won
        votes[:, j] += 1 - won
    which = votes.argmax(-1)
    if scores.shape[1] == 1:
        return named(labels, which), opposed(scores, how, shares=False)
    return named(labels, which), transformed(scores, how)


def _compared(node: Node, x: Tensor, counts: list[int]) -> Tensor:
    """Each class against each other one: `[samples, pairs]`, positive for the first of the pair."""
    vectors, rho = numbers(node, "support_vectors", x).reshape(sum(counts), -1), numbers(node, "rho", x)
    alike = _kernel(node, x, vectors).split(counts, -1)  # type: ignore[no-untyped-call]
    coefficients = numbers(node, "coefficients", x).reshape(-1, sum(counts))
    weights = [w.split(counts) for w in coefficients]
    found = list[Tensor]()
    for k, (i, j) in enumerate(combinations(range(len(counts)), 2)):
        found.append(alike[i] @ weights[j - 1][i] + alike[j] @ weights[i][j] + rho[k])
    return torch.stack(found, -1)


def coupled(pairs: Tensor, count: int) -> Tensor:
    """Likelihoods of classes from those within pairs: Wu, Lin and Weng (2004), second method, as libsvm stops it."""
    pairs = pairs.clamp(1e-7, 1 - 1e-7)
    r = pairs.new_zeros(len(pairs), count, count)
    for k, (i, j) in enumerate(combinations(range(count), 2)):
        r[:, i, j], r[:, j, i] = pairs[:, k], 1 - pairs[:, k]
    q = -r.transpose(1, 2) * r + torch.diag_embed(r.square().sum(1))
    p = pairs.new_full((len(pairs), count), 1 / count)
    moving = pairs.new_ones(len(pairs), 1, dtype=torch.bool)
    for _ in range(max(100, ceil(count))):
        qp = (q @ p.unsqueeze(-1)).squeeze(-1)
        mean = (p * qp).sum(-1, keepdim=True)
        moving = moving & ((qp - mean).abs().amax(-1, keepdim=True) >= 0.005 / count)
        if not bool(moving.any()):
            break
        p = torch.where(moving, _turn(q, p, qp, mean), p)
    return p


def _turn(q: Tensor, p: Tensor, qp: Tensor, mean: Tensor) -> Tensor:
    """One class after the other is moved to where it belongs."""
    for t in range(p.shape[1]):
        own = q[:, t, t : t + 1]
        step = (mean - qp[:, t : t + 1]) / own
        column = torch.nn.functional.one_hot(torch.tensor(t), p.shape[1]).to(p)
        p = (p + step * column) / (1 + step)
        mean = (mean + step * (step * own + 2 * qp[:, t : t + 1])) / (1 + step) ** 2
        qp = (qp + step * q[:, t]) / (1 + step)
    return p
