"""How every method is run: quickly, with every option it needs, on the networks of all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import Phase, settings
from torch import Tensor, nn

from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs
from pellucid.methods import all_methods

# methods that read attention are held to all of this in test_attention_methods.py, on networks that have some
METHODS = {n: m for n, m in all_methods().items() if m.family != "attention"}
# what reads a feature map, at a site that every spelling of `Net` has
MAPS = [name for name, method in METHODS.items() if method.family == "class activation"]
QUICK: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 8},
    "conductance": {"steps": 4},
    "internal_influence": {"steps": 8},
    "xrai": {"steps": 4},
    "integrated_hessians": {"cells": 2, "steps": 4},
    "smooth_grad": {"samples": 3},
    "gradient_shap": {"samples": 3},
    "occlusion": {"window": 3, "stride": 2},
    "feature_ablation": {"cells": 3},
    "feature_permutation": {"cells": 2},
    "shapley_values": {"cells": 2},
    "shapley_interactions": {"cells": 2, "fill": "constant"},  # second differences: blurred, they are rounding
    "kernel_shap": {"cells": 3, "samples": 48},
    "shapley_sampling": {"cells": 2, "pairs": 4},
    "partition_shap": {"cells": 3, "most": 24},
    "lime": {"cells": 3, "samples": 40},
    "rise": {"masks": 12, "cells": 3},
    "sobol": {"designs": 6, "cells": 2},
    "hsic": {"masks": 12, "cells": 3},
    "extremal_perturbation": {"steps": 3, "cells": 3, "areas": "0.3", "fill": "constant"},
    "blur_integrated_gradients": {"steps": 8},
    "guided_integrated_gradients": {"steps": 5},
    "sequential_integrated_gradients": {"steps": 6, "cells": 2},
    "wavelet_integrated_gradients": {"steps": 8},
    **{name: {"site": "conv2"} for name in MAPS},
}

every_method = pytest.mark.parametrize("name", METHODS)
few = settings(max_examples=3, phases=[Phase.generate])  # a random network has no simpler relatives to shrink to


def explain(
    name: str, net: nn.Module | Network, x: Inputs, target: Target | int | None = 1, **options: Any
) -> Explanation:
    return METHODS[name](net, x, target, **{**QUICK.get(name, {}), **options})


def values(name: str, net: nn.Module | Network, x: Inputs, target: Target | int | None = 1, **options: Any) -> Tensor:
    found = explain(name, net, x, target, **options).values
    assert isinstance(found, Tensor)
    return found


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    """Equal to `tolerance` of the larger map's largest value."""
    scale = float(torch.maximum(a.abs().max(), b.abs().max()))
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(scale, 1e-4))
