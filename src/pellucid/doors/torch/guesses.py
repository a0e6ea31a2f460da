"""Names of architectures that weights may belong to, by what these are called.  Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pellucid.doors.torch.matched import Shapes

_RESNETS = {
    (2, 2, 2, 2, False): ("resnet18",),
    (3, 4, 6, 3, False): ("resnet34",),
    (3, 4, 6, 3, True): ("resnet50", "resnext50_32x4d", "wide_resnet50_2"),
    (3, 4, 23, 3, True): ("resnet101", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet101_2"),
    (3, 8, 36, 3, True): ("resnet152",),
}
# a weight that only this family has -> torchvision's names for its members
_FAMILIES = {
    "features.denseblock1.denselayer1.norm1.weight": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "encoder.layers.encoder_layer_0.ln_1.weight": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
    "features.1.block.0.0.weight": ("mobilenet_v3_small", "mobilenet_v3_large"),
    "features.1.conv.0.0.weight": ("mobilenet_v2",),
    "features.1.0.block.0.0.weight": tuple(f"efficientnet_b{i}" for i in range(4)),
    "features.1.0.block.0.weight": ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "features.1.0.attn.relative_position_bias_table": ("swin_t", "swin_s", "swin_b"),
    "features.3.squeeze.weight": ("squeezenet1_0", "squeezenet1_1"),
    "Mixed_5b.branch1x1.conv.weight": ("inception_v3",),
    "inception3a.branch1.conv.weight": ("googlenet",),
    "stage2.0.branch1.0.weight": ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5"),
}
_AROUND = re.compile(r"(module\.|model\.|_orig_mod\.|net\.|backbone\.)+")
_VITS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}


def guesses(shapes: Shapes) -> tuple[str, ...]:
    """The names of architectures that weights of these names may belong to; nothing is built.

    >>> guesses({"fc.weight": (9, 512), **{f"layer{i}.{j}.conv1.weight": () for i in (1, 2, 3, 4) for j in (0, 1)}})
    ('torchvision:resnet18',)
    """
    plain = {_bare_name(name): shape for name, shape in shapes.items()}
    return tuple(dict.fromkeys([*_resnets(plain), *_families(plain), *_vits(plain)]))


def _bare_name(name: str) -> str:
    around = _AROUND.match(name)
    return name[around.end() :] if around else name


def _resnets(shapes: Shapes) -> Iterator[str]:
    first = [name for name in shapes if name.endswith(".conv1.weight")]
    blocks = tuple(_count(first, rf"layer{i}\.(\d+)\.conv1\.weight") for i in (1, 2, 3, 4))
    names = _RESNETS.get((*blocks, "layer1.0.conv3.weight" in shapes), ())  # type: ignore[arg-type]
    yield from (f"torchvision:{name}" for name in names)


def _count(names: Iterable[str], pattern: str) -> int:
    return len({m.group(1) for name in names if (m := re.fullmatch(pattern, name))})


def _families(shapes: Shapes) -> Iterator[str]:
    for marker, names in _FAMILIES.items():
        if marker in shapes:
            yield from (f"torchvision:{name}" for name in names)
    if "features.0.weight" in shapes and "classifier.6.weight" in shapes:
        layers = sum(name.startswith("features.") and len(shapes[name]) == 4 for name in shapes)
        depth = {8: "vgg11", 10: "vgg13", 13: "vgg16", 16: "vgg19"}.get(layers)
        if depth:
            yield f"torchvision:{depth}{'_bn' if 'features.1.running_mean' in shapes else ''}"
        elif layers == 5:
            yield "torchvision:alexnet"


def _vits(shapes: Shapes) -> Iterator[str]:
    patch, places = shapes.get("patch_embed.proj.weight"), shapes.get("pos_embed")
    if patch and places and len(patch) == 4 and len(places) == 3 and "blocks.0.attn.qkv.weight" in shapes:
        side = int(max(places[1] - 1, 0) ** 0.5) * patch[-1]
        if patch[0] in _VITS:
            yield f"timm:vit_{_VITS[patch[0]]}_patch{patch[-1]}_{side}"
