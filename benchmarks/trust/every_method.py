"""How every method is asked on the photographs, and why a few are not: a new method belongs into one of the two."""

from __future__ import annotations

from typing import Any

# Options that keep a method to about a hundred passes; where nothing is said, its defaults do.
CHEAP: dict[str, dict[str, Any]] = {
    "saliency": {}, "input_x_gradient": {}, "smooth_grad": {"samples": 16}, "beta_smooth": {}, "full_grad": {},
    "guided_backprop": {}, "deconvolution": {}, "wavelet_gradients": {}, "gradient_shap": {"samples": 16},
    "lrp": {}, "deep_lift": {}, "excitation_backprop": {},
    "grad_cam": {}, "grad_cam_plus_plus": {}, "x_grad_cam": {}, "hi_res_cam": {}, "layer_cam": {}, "eigen_cam": {},
    "eigen_grad_cam": {}, "seg_eigen_cam": {}, "fem": {}, "kpca_cam": {}, "shapley_cam": {}, "finer_cam": {},
    "guided_grad_cam": {}, "occlusion": {"window": 56, "stride": 28}, "feature_ablation": {},
}  # fmt: skip
# Over a second a photograph: on the first few only.
DEAR: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 32}, "blur_integrated_gradients": {"steps": 32},
    "guided_integrated_gradients": {"steps": 16}, "wavelet_integrated_gradients": {"steps": 32},
    "sequential_integrated_gradients": {"steps": 4, "cells": 4}, "conductance": {}, "internal_influence": {},
    "xrai": {"steps": 16}, "deep_shap": {}, "ablation_cam": {},
    "lime": {"samples": 128, "cells": 5}, "kernel_shap": {"samples": 128, "cells": 5},
    "shapley_sampling": {"pairs": 3, "cells": 5}, "partition_shap": {"most": 128}, "rise": {"masks": 128},
    "hsic": {"masks": 128}, "sobol": {"designs": 4, "cells": 5},
    "extremal_perturbation": {"steps": 30, "areas": "0.1, 0.2"}, "score_cam": {}, "shapley_values": {"cells": 3},
}  # fmt: skip
OPTIONS = CHEAP | DEAR
BACKGROUND = 8  # photographs after each one that DeepSHAP compares it with

_ATTENTION = "reads attention weights, and a convolutional network has none"
_PAIRS = "what it finds is a number for every pair of parts; the card scores one for every place"
REFUSED = {
    "attention_relevance": _ATTENTION, "attention_rollout": _ATTENTION, "le_grad": _ATTENTION,
    "raw_attention": _ATTENTION,
    "feature_permutation": "changes parts of samples for those of others; one photograph has no others",
    "integrated_hessians": f"{_PAIRS} (summed over pairs it is integrated gradients by block)",
    "shapley_interactions": f"{_PAIRS} (a part's sum over pairs is not what the part does)",
}  # fmt: skip


def said(name: str) -> str:
    """A method as it was asked: `rise (masks=256)`."""
    given = [f"{k}={v}" for k, v in OPTIONS[name].items()]
    given += [f"background of {BACKGROUND} photographs"] if name == "deep_shap" else []
    return f"{name} ({', '.join(given)})" if given else name
