"""onnxruntime's outputs on real files out of packages, and on torch's exports of torchvision's networks."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from pellucid.doors.onnx import open_file
from tests.networks import randomized, seeded
from tests.onnx_files import exported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision

Inputs = dict[str, Tensor]
MOST = 1e-4  # relative to the greatest value of an output


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(1))


def text(height: int, width: int) -> Tensor:
    """A picture of a word in black on white, from -1 to 1: detectors of text put out nearly nothing without."""
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((8, height // 5), "pellucid", "black", ImageFont.load_default(size=height // 2))
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


# Package, file inside it, inputs.
FILES: dict[str, tuple[str, str, Callable[[], Inputs]]] = {
    "magika": (
        "magika",
        "models/standard_v3_3/model.onnx",
        lambda: {"bytes": torch.randint(0, 257, (2, 2048), generator=seeded(1), dtype=torch.int32)},
    ),
    "text detection": ("rapidocr", "models/PP-OCRv6_det_small.onnx", lambda: {"x": text(96, 256)}),
    "text recognition": ("rapidocr", "models/PP-OCRv6_rec_small.onnx", lambda: {"x": text(48, 160)}),
    "text direction": ("rapidocr", "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", lambda: {"x": text(48, 192)}),
    "speech": (
        "silero_vad",
        "data/silero_vad_op18_ifless.onnx",
        lambda: {"input": noise(1, 512) * 0.1, "state": torch.zeros(2, 1, 128), "sr": torch.tensor(16000)},
    ),
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: torchvision.models.resnet18(),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(),
    "squeezenet1_1": lambda: torchvision.models.squeezenet1_1(),
    "shufflenet_v2_x0_5": lambda: torchvision.models.shufflenet_v2_x0_5(),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(),
    "vision transformer": lambda: torchvision.models.VisionTransformer(64, 16, 3, 4, 32, 64),
}


def compared(path: Path, given: Inputs) -> None:
    """Every output of the file within the tolerance."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {name: x.numpy() for name, x in given.items()})
    net = open_file(path)
    with torch.no_grad():
        found = net.model(**given)
    outputs = [found[o.name] for o in session.get_outputs()] if isinstance(found, dict) else [found]
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
        assert np.abs(ours.numpy() - theirs).max() < MOST * np.abs(theirs).max()


@pytest.mark.parametrize("name", FILES)
def test_files_out_of_packages(name: str):
    package, inside, given = FILES[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    compared(Path(spec.submodule_search_locations[0]) / inside, given())


@pytest.mark.parametrize("name", NETWORKS)
def test_exports_of_networks(name: str, tmp_path):
    model = NETWORKS[name]().eval()
    # Trained networks keep their values within bounds: so must these, or outputs vanish and nothing is compared.
    model = randomized(model, 1, 0.1) if name == "vision transformer" else normalized(model)
    x = noise(2, 3, 64, 64)
    path = exported(model, x, tmp_path / "net.onnx")
    compared(path, {"x": x})
    torch.testing.assert_close(open_file(path).model(x), model(x), rtol=1e-4, atol=1e-4)


def normalized(model: nn.Module) -> nn.Module:
    """A network whose batch statistics are those of noise, and whose weights are random."""
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=seeded(p.numel())) * (2 / p[0].numel()) ** 0.5)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        m.train().momentum = None
        m.reset_running_stats()
    with torch.no_grad():
        model(noise(8, 3, 64, 64))
    return model.eval()


@pytest.mark.parametrize("ways", [1, 2])
def test_layers_of_levels(ways: int, tmp_path):
    """Weights of 7 bits, in which onnxruntime's sums do not overflow on any processor."""
    draw, width = np.random.default_rng(ways), 8
    held = {
        "w": draw.integers(-64, 64, (ways, 4, 4 * width)).astype(np.int8),
        "u": draw.integers(-64, 64, (ways, width, 4 * width)).astype(np.int8),
        "b": draw.normal(size=(ways, 8 * width)).astype(np.float32),
        "scale": np.full(ways, 0.02, np.float32),
        "zero": np.full(ways, 3, np.int8),
    }
    names = ["x", "w", "u", "b", "", "", "", "", "scale", "zero", "scale", "zero"]
    direction = "bidirectional" if ways == 2 else "forward"
    node = onnx.helper.make_node(
        "DynamicQuantizeLSTM", names, ["y"], domain="com.microsoft", hidden_size=width, direction=direction
    )
    value = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [6, 3, 4]), ("y", [6, ways, 3, width]))]
    stored = [onnx.numpy_helper.from_array(v, k) for k, v in held.items()]
    graph = onnx.helper.make_graph([node], "g", value[:1], value[1:], stored)
    opsets = [onnx.helper.make_opsetid(domain, v) for domain, v in (("", 17), ("com.microsoft", 1))]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "net.onnx")
    compared(tmp_path / "net.onnx", {"x": noise(6, 3, 4)})
