"""Figures that were found before, on a rig of others' making: the notes that the card was designed after."""

from __future__ import annotations

INFILLS = ("oracle", "mean", "blur", "zero/gray", "ROAD linear")
# Mean tau-b within a picture; 10 pictures, 15 maps each.
GRADED: dict[str, tuple[float, ...]] = {
    "probe r, 32": (0.84, 0.77, 0.82, 0.74, 0.85),
    "probe r, 64": (0.89, 0.79, 0.87, 0.78, 0.88),
    "probe r, 128": (0.91, 0.88, 0.91, 0.86, 0.91),
    "probe r, 128, probability": (0.88, 0.79, 0.87, 0.74, 0.90),
    "SRG, 8 steps": (0.78, 0.64, 0.72, 0.65, 0.79),
    "SRG, 16 steps": (0.81, 0.73, 0.77, 0.72, 0.83),
    "MoRF log-odds, 16 steps": (0.57, 0.61, 0.71, 0.64, 0.79),
    "MoRF probability, 16 steps": (0.39, 0.56, 0.54, 0.55, 0.73),
    "LeRF probability, 16 steps": (0.79, 0.68, 0.80, 0.63, 0.81),
}
# Mean Spearman within a picture between a score of 12 methods and the truth; 24 pictures.
METHODS_ORDER = {
    "blobs of fixed area, 32": 0.73, "blobs of fixed area, 64": 0.72, "blobs of fixed area, 128": 0.73,
    "cells of fixed size, 64": 0.69, "cells of random size, 64": 0.59, "SRG, 8 passes": 0.56, "SRG, 16 passes": 0.59,
}  # fmt: skip
# r of methods, 128 blob probes of 30 % area, pull-push.
METHODS_R = {
    "ig": 0.88, "occlusion": 0.85, "gbp, size": 0.85, "gxi": 0.83, "grad": 0.80, "gradcam": 0.72, "smoothgrad": 0.63,
    "rise": 0.58, "edge": 0.52, "centre": 0.31, "deconv, size": 0.24, "random": -0.01,
}  # fmt: skip
SIZES = {"rise": (0.58, 0.30), "smoothgrad": (0.55, 0.47), "centre": (0.17, 0.29)}  # fixed, random size
# Share of maps with p <= .05 under coin-toss probes: shuffled, rolled.
REJECTED = {
    "very smooth random field": (".10-.15", ".00-.05"), "centre blob": (".45-.47", ".05-.20"),
    "truth, shifted by 10 px or more": ("0", "0"), "truth": ("1.00", ".97-1.00"),
}  # fmt: skip
COVERED = ".85-.97"
WIDTHS = {"integrated gradients": (0.19, 0.13, 0.09), "a smooth random field": (0.46, 0.33, 0.24)}
LEFT = ".85-.97"
# Rank correlation with the map of random weights, chance, relative change of entropy.
RANDOMIZED = {
    "integrated gradients": (0.54, 0.20, 1.47), "guided backprop": (0.19, 0.23, 1.37),
    "deconvolution": (0.13, None, -0.01), "Grad-CAM": (-0.04, None, -0.36), "gradient": (None, None, 0.67),
    "gradient x input": (None, None, 0.94), "SmoothGrad": (None, None, 0.05),
}  # fmt: skip
MOSAICS = {
    "Grad-CAM": 0.86, "guided backprop": 0.48, "integrated gradients": 0.45, "gradient x input": 0.38,
    "gradient": 0.32, "SmoothGrad": 0.28, "deconvolution": 0.25,
}  # fmt: skip
# EfficientNet-Lite0, 5 photographs, 96 probes.
PHOTOGRAPHS = {
    "smooth_grad": 0.56, "grad_cam": 0.51, "integrated_gradients": 0.36, "input_x_gradient": -0.05,
    "center": 0.36, "edges": 0.22, "ceiling": 0.58,
}  # fmt: skip
