"""However many samples go through at once: the same results, in order, within the limit; and no layout is forced."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.core.batching import in_passes
from pellucid.core.explanation import Explanation
from pellucid.core.memory import Footprint, measuring
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.core.tensors import Tensors
from pellucid.methods import all_methods
from tests.conditions import cnn, picture

# methods that read attention are held to all of this in test_attention_methods.py, on networks that have some
METHODS = {n: m for n, m in all_methods().items() if m.family != "attention"}
FEW = {"integrated_gradients": {"steps": 5},
       "conductance": {"steps": 2}, "internal_influence": {"steps": 4},
       "integrated_hessians": {"cells": 2, "steps": 2}, "xrai": {"steps": 2},
       "gradient_shap": {"samples": 5}, "smooth_grad": {"samples": 5},
       "occlusion": {"window": 3, "stride": 2}, "rise": {"masks": 8, "cells": 3},
       "kernel_shap": {"cells": 2, "samples": 16}, "shapley_sampling": {"cells": 2, "pairs": 3},
       "shapley_values": {"cells": 2}, "shapley_interactions": {"cells": 2},
       "lime": {"cells": 2, "samples": 16}, "feature_ablation": {"cells": 3},
       "feature_permutation": {"cells": 2},
       "partition_shap": {"cells": 3, "most": 50}, "sobol": {"designs": 2, "cells": 2},
       "hsic": {"masks": 8, "cells": 3},
       "guided_integrated_gradients": {"steps": 3}, "blur_integrated_gradients": {"steps": 5},
       "wavelet_integrated_gradients": {"steps": 5},
       "sequential_integrated_gradients": {"steps": 2, "cells": 2},
       "extremal_perturbation": {"steps": 3, "cells": 3}}  # fmt: skip


class Spy(nn.Module):
    """Notes how many rows each pass has."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        ROWS.append(len(x))
        out: Tensor = self.body(x)
        return out


ROWS: list[int] = []


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    limit=st.integers(1, 9),
)
def test_results_come_back_in_order_and_no_pass_is_too_large(sizes: list[int], limit: int) -> None:
    start, variations = 0, list[Tensors]()
    for n in sizes:
        variations.append({"x": torch.arange(start, start + n)})
        start += n
    passes, held = list[int](), dict[int, int]()

    def one(x: Tensors, rows: Tensor) -> Tensor:
        passes.append(len(rows))
        held.update(zip(x["x"].tolist(), rows.tolist(), strict=True))
        return 10 * x["x"]

    run = Run(max_batch=7)
    found = list(in_passes(variations, lambda x, rows: (one(x, rows), limit), one, run))
    assert [f.tolist() for f in found] == [(10 * v["x"]).tolist() for v in variations]
    assert passes[0] == 1 and max(passes) <= min(limit, 7)
    for variation in variations:  # each row knows which sample of its variation it is
        assert [held[v] for v in variation["x"].tolist()] == list(range(len(variation["x"])))


@given(samples=st.integers(1, 5), count=st.integers(1, 9), memory=st.integers(1, 10**5))
def test_scores_do_not_depend_on_the_batches(samples: int, count: int, memory: int) -> None:
    net = Network(nn.Linear(3, 2).double())
    variations = [{"input": torch.randn(samples, 3, dtype=torch.float64)} for _ in range(count)]
    with running(Run(memory=memory)):
        found = torch.stack(list(Score(net, logit(1)).scores(variations)))
    weight, bias = net.model.weight, net.model.bias
    expected = torch.stack([v["input"] @ weight[1] + bias[1] for v in variations])
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize("name", METHODS)
def test_maps_do_not_depend_on_the_batches(name: str) -> None:
    model, x = cnn().double().eval(), picture(3).double()

    def found(run: Run) -> Explanation:
        with running(run):
            return METHODS[name](model, x, logit((0, 1, 2)), **FEW.get(name, {}))

    whole = found(Run()).values
    for run in (Run(max_batch=1), Run(max_batch=2), Run(max_batch=7), Run(memory=1), Run(memory=20_000)):
        torch.testing.assert_close(found(run).values, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_the_cap_on_samples_is_kept(name: str) -> None:
    model = Spy(cnn().eval())
    for most in (1, 3):
        ROWS.clear()
        with running(Run(max_batch=most)):
            found = METHODS[name](model, picture(5), 0, **FEW.get(name, {}))
        assert max(ROWS) <= most and sum(ROWS) >= found.cost.forwards


@pytest.mark.parametrize(("memory", "most"), [(12_000, 1), (36_000, 3), (60_001, 5), (10**9, 256)])
def test_as_many_samples_go_together_as_fit(memory: int, most: int) -> None:
    # without a gradient a pass needs its largest value three times: 1000 numbers of 4 bytes a sample
    model = Spy(nn.Linear(4, 1000))
    score = Score(Network(model), logit(0))
    ROWS.clear()
    with running(Run(memory=memory)):
        found = list(score.scores([{"x": torch.ones(1, 4)}] * 600))
    assert len(found) == 600 and sum(ROWS) == 600
    assert ROWS[0] == 1 and max(ROWS) == most


def test_what_a_pass_needs_is_measured() -> None:
    model, x = nn.Sequential(nn.Linear(4, 50), nn.Tanh(), nn.Linear(50, 2)), torch.ones(1, 4)
    with torch.no_grad(), measuring(model, backward=False) as forward:
        model(x)
    assert forward.bytes == 3 * 50 * 4
    x.requires_grad_()
    for p in model.parameters():
        p.requires_grad_(False)
    with measuring(model, backward=True) as backward:
        model(x)
    assert backward.bytes == 50 * 4 * 3  # tanh keeps its result; its gradient and one more beside it
    cell = nn.LSTM(4, 500, batch_first=True)
    with torch.no_grad(), measuring(cell, backward=False) as several:
        cell(torch.ones(1, 9, 4))
    assert several.bytes >= 3 * 9 * 500 * 4  # also of operations that put out several values


@given(bytes_=st.integers(0, 10**9), largest=st.integers(0, 10**8), memory=st.integers(1, 10**10))
def test_no_pass_goes_over_its_memory_nor_on_a_processor_over_the_largest_block(
    bytes_: int, largest: int, memory: int
) -> None:
    for device in ("cpu", "cuda"):
        n = Footprint(bytes_, largest).samples(memory, torch.device(device))
        block = 13 * 2**20 if device == "cpu" else float("inf")
        assert n == 1 or (n * bytes_ <= memory and n * largest <= block)
        assert (n + 1) * max(1, bytes_) > memory or (n + 1) * max(1, largest) > block


class Views(nn.Module):
    """Takes for granted that a convolution's result is laid out channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(3, 4, 3), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        out: Tensor = self.end(x.view(len(x), -1))
        return out


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_cannot_take_channels_last_is_given_channels_first(name: str) -> None:
    net, x = Network(Views()), picture(2)
    found = METHODS[name](net, x, 0, **FEW.get(name, {}))
    with running(Run(channels_last=False)):
        plain = METHODS[name](Network(net.model), x, 0, **FEW.get(name, {}))
    torch.testing.assert_close(found.values, plain.values, rtol=1e-4, atol=1e-6)
    assert net.contiguous_only


def test_the_layout_of_the_input_does_not_matter() -> None:
    model, x = cnn().eval(), picture(2)
    expected = METHODS["saliency"](model, x, 0).values
    spread = torch.zeros(2, 3, 8, 16)[..., ::2].copy_(x)
    laid = x.contiguous(memory_format=torch.channels_last)
    turned = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    for other in (spread, laid, turned):
        torch.testing.assert_close(METHODS["saliency"](model, other, 0).values, expected, rtol=1e-5, atol=1e-6)
    same = picture()[:, :, :1].expand(2, 3, 8, 8)
    torch.testing.assert_close(
        METHODS["saliency"](model, same, 0).values, METHODS["saliency"](model, same.contiguous(), 0).values
    )
