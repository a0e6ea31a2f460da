"""One small network of every kind that people bring: how it is written, not what it is for.

Each builder gives (model in eval mode, positional arguments, keyword arguments), seeded.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest
import torch
from torch import nn

from tests.modules_of_kinds import (
    Branching,
    Detector,
    Inverted,
    Numpy,
    Recurrent,
    ResNet,
    Scripted,
    Torch,
    UNet,
    ViT,
    Writing,
    conv,
)


def resnet():
    return ResNet(), (torch.randn(1, 3, 64, 64),), {}


def mobilenet():
    return nn.Sequential(conv(3, 8, 3, 2), Inverted(8), Inverted(8)), (torch.randn(1, 3, 32, 32),), {}


def unet():
    return UNet(), (torch.randn(1, 1, 32, 32),), {}


def detector():
    return Detector(), ([torch.randn(3, 32, 32), torch.randn(3, 24, 40)],), {}


def vit():
    return ViT(), (torch.randn(1, 3, 32, 32),), {}


def torch_transformer():
    return Torch(), (torch.randn(1, 5, 16),), {}


def lstm():
    return Recurrent(), (torch.randint(0, 50, (1, 7)),), {}


def branching():
    return Branching(), (torch.randn(1, 6, 6),), {}


def writing():
    return Writing(), (torch.randn(3, 8),), {"scale": 0.5}


def scripted():
    return Scripted(), (torch.randn(1, 8),), {}


def opaque():
    return nn.Sequential(nn.Linear(4, 4), Numpy(), nn.Tanh()), (torch.randn(1, 4),), {}


_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def bert():
    transformers = pytest.importorskip("transformers")
    model = transformers.BertModel(transformers.BertConfig(**_TINY, vocab_size=100))
    mask = torch.ones(1, 9, dtype=torch.long)
    mask[:, 7:] = 0
    return model, (), {"input_ids": torch.randint(0, 100, (1, 9)), "attention_mask": mask}


def gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100)
    return transformers.GPT2LMHeadModel(config), (), {"input_ids": torch.randint(0, 100, (1, 9))}


def llama(**more):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**_TINY, num_key_value_heads=2, vocab_size=100)
    return transformers.LlamaForCausalLM(config), (), {"input_ids": torch.randint(0, 100, (1, 9)), **more}


def llama_with_cache():
    transformers = pytest.importorskip("transformers")
    cache = transformers.DynamicCache()
    for layer in range(2):
        cache.update(torch.randn(1, 2, 4, 8), torch.randn(1, 2, 4, 8), layer)
    return llama(past_key_values=cache)


def clip():
    transformers = pytest.importorskip("transformers")
    text = _TINY | {"vocab_size": 100, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=_TINY | {"image_size": 32, "patch_size": 8}, projection_dim=16
    )
    ids = torch.randint(3, 99, (1, 8))
    ids[0, -1] = 2
    return transformers.CLIPModel(config), (), {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}


class _Graph(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x, edge_index):
        return self.second(torch.relu(self.first(x, edge_index)), edge_index)


def gcn():
    geometric = pytest.importorskip("torch_geometric.nn")
    model = _Graph(geometric.GCNConv(6, 8), geometric.GCNConv(8, 3))
    return model, (torch.randn(20, 6), torch.randint(0, 20, (2, 60))), {}


def gat():
    geometric = pytest.importorskip("torch_geometric.nn")
    model = _Graph(geometric.GATConv(6, 4, heads=2), geometric.GATConv(8, 3))
    return model, (torch.randn(20, 6), torch.randint(0, 20, (2, 60))), {}


def keras_cnn():
    keras = pytest.importorskip("keras")
    x = keras.Input((16, 16, 3), name="picture")
    h = keras.layers.Conv2D(4, 3, padding="same", name="conv")(x)
    branch = keras.layers.ReLU()(keras.layers.BatchNormalization()(h))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Activation("relu")], name="inner")
    h = keras.layers.Add()([h, inner(branch)])
    y = keras.layers.Dense(3, name="dense")(keras.layers.GlobalAveragePooling2D()(h))
    return keras.Model(x, y), (torch.randn(1, 16, 16, 3),), {}


def keras_mobilenet():
    keras = pytest.importorskip("keras")
    return (
        keras.applications.MobileNet(weights=None, input_shape=(64, 64, 3), alpha=0.25),
        (torch.randn(1, 64, 64, 3),),
        {},
    )


def _torchvision(name, size, **options):
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    return getattr(models, name)(weights=None, **options), (torch.randn(1, 3, size, size),), {}


def tv_resnet50():
    return _torchvision("resnet50", 96)


def tv_efficientnet_b0():
    return _torchvision("efficientnet_b0", 96)


def tv_vit_b_16():
    return _torchvision("vit_b_16", 224)


def tv_swin_t():
    return _torchvision("swin_t", 96)


def tv_deeplabv3():
    detached = pytest.importorskip("torchvision.models.segmentation", exc_type=ImportError)
    return detached.deeplabv3_resnet50(weights=None, weights_backbone=None), (torch.randn(1, 3, 64, 64),), {}


def tv_maskrcnn():
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    if not torchvision.extension._has_ops():
        pytest.skip("torchvision's compiled operators do not load here")
    build = torchvision.models.detection.maskrcnn_resnet50_fpn
    return build(weights=None, weights_backbone=None, min_size=128, max_size=128), ([torch.rand(3, 128, 128)],), {}


KINDS = (
    resnet, mobilenet, unet, detector, vit, torch_transformer, lstm, branching, writing, scripted, opaque, bert, gpt2,
    llama, llama_with_cache, clip, gcn, gat, keras_cnn, keras_mobilenet,
)  # fmt: skip
PEERS = (tv_resnet50, tv_efficientnet_b0, tv_vit_b_16, tv_swin_t, tv_deeplabv3, tv_maskrcnn)


def build(kind):
    """A seeded model of a kind in eval mode, its batch norms away from their starting point, and its arguments."""
    torch.manual_seed(0)
    model, args, kwargs = kind()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval(), args, kwargs
