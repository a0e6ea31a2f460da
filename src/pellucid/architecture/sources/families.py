"""Which family an operation belongs to: torch's function names, module classes and ONNX operators in one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pellucid.architecture.graph import Family

_NAMES: Mapping[Family, str] = {
    "convolution": """conv conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
        convtranspose convinteger qlinearconv fusedconv deformconv unfold fold""",
    "linear": """linear matmul mm bmm addmm addbmm baddbmm mv addmv dot gemm einsum embedding embedding_bag bilinear
        matmulinteger qlinearmatmul fusedmatmul tensordot inner outer chain_matmul multi_dot qgemm matmulnbits""",
    "attention": """scaled_dot_product_attention multi_head_attention_forward attention multiheadattention
        groupqueryattention flex_attention qattention _native_multi_head_attention""",
    "activation": """relu relu6 leaky_relu leakyrelu prelu rrelu elu selu celu gelu fastgelu quickgelu biasgelu silu
        swish mish sigmoid logsigmoid hardsigmoid hard_sigmoid hardswish tanh hardtanh tanhshrink softsign softplus
        softmax log_softmax logsoftmax softmin hardmax threshold thresholdedrelu glu hardshrink softshrink shrink erf
        gumbel_softmax""",
    "normalization": """batch_norm batchnorm batchnormalization layer_norm layernorm layernormalization
        simplifiedlayernormalization skiplayernormalization skipsimplifiedlayernormalization group_norm groupnorm
        groupnormalization instance_norm instancenorm instancenormalization rms_norm rmsnorm rmsnormalization lrn
        local_response_norm normalize lpnormalization normalizer meanvariancenormalization weight_norm dropout
        alpha_dropout feature_dropout""",
    "pooling": """max_pool avg_pool adaptive_avg_pool adaptive_max_pool lp_pool fractional_max_pool max_unpool maxpool
        averagepool globalaveragepool globalmaxpool globallppool lppool maxunpool maxroipool roialign roi_align
        adaptiveavgpool adaptivemaxpool avgpool interpolate upsample resize grid_sample gridsample pixel_shuffle
        pixel_unshuffle upsamplingnearest upsamplingbilinear""",
    "shape": """reshape view view_as reshape_as flatten unflatten squeeze unsqueeze transpose permute movedim moveaxis
        swapaxes swapdims t T mT H mH expand expand_as broadcast_to expanddims repeat repeat_interleave tile cat concat
        concatenate stack hstack vstack dstack split chunk tensor_split unbind getitem setitem slice select narrow
        index_select indexselect gather gathernd gatherelements scatter scatternd scatterelements index_put take
        take_along_dim pad roll rot90 flip contiguous clone identity to type_as cast castlike float half double
        bfloat16 int long bool shape size depthtospace spacetodepth as_strided channel_shuffle compress detach
        copy data broadcast_tensors meshgrid unsqueezed resolve_conj real imag""",
    "arithmetic": """add sub mul div truediv floordiv floor_divide true_divide mod remainder fmod pow neg abs sqrt rsqrt
        square exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh asinh acosh atanh ceil floor
        round trunc sign reciprocal clip clamp clamp_min clamp_max maximum minimum min max sum mean prod std var
        var_mean std_mean norm logsumexp cumsum cumprod rsub radd rmul rtruediv rpow rdiv addcmul addcdiv lerp eq ne
        lt le gt ge equal less greater lessorequal greaterorequal and or xor not logical_and logical_or logical_not
        logical_xor bitwise_and bitwise_or bitwise_not invert where masked_fill isnan isinf isfinite argmax argmin
        topk sort argsort any all amax amin reducemean reducesum reducemax reducemin reduceprod reducel1 reducel2
        reducelogsum reducelogsumexp reducesumsquare sumsquare cdist cross matrix_exp det inverse triu tril trilu
        fft ifft rfft irfft stft dft scatter_add index_add subtract multiply divide negative quantizelinear
        dequantizelinear dynamicquantizelinear quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic
        dequantize fake_quantize_per_tensor_affine fake_quantize_per_channel_affine""",
    "recurrent": """lstm gru rnn lstm_cell lstmcell gru_cell grucell rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell
        rnncell""",
    "io": "input output",
}  # fmt: skip
_FAMILY: dict[str, Family] = {}
for _family, _names in _NAMES.items():
    _FAMILY.update(dict.fromkeys(_names.split(), _family))


@lru_cache(4096)
def family_of(op: str) -> Family:
    """The family of an operation, by its name in torch or ONNX, or by a module's class.

    >>> [family_of(op) for op in ("conv2d", "Conv", "relu_", "MaxPool2d", "aten.add", "LlamaRMSNorm", "frobnicate")]
    ['convolution', 'convolution', 'activation', 'pooling', 'arithmetic', 'normalization', 'other']
    """
    name = op.rpartition(".")[2].rpartition("::")[2]
    for known in (name, name.removeprefix("QLinear")):  # what ONNX Runtime calls an operation on quantized numbers
        for candidate in (known, known.rstrip("_"), known.rstrip("_").lower(), _without_rank(known)):
            if candidate in _FAMILY:
                return _FAMILY[candidate]
    words = " ".join(_WORD.findall(name)).lower()
    for part, family in _PARTS:
        if part.search(words):
            return family
    return "other"


def family_of_kind(kind: str) -> Family | None:
    """The family of a layer by its class, where its name says one.

    >>> family_of_kind("SeparableConv2D"), family_of_kind("Bottleneck")
    ('convolution', None)
    """
    family = family_of(kind) if kind else "other"
    return None if family in ("other", "io") else family


# What a class that somebody wrote calls itself: a word in its name says what it does.  A word may have others before
# it (`layernorm`) and is that word to its end: `convert` is no convolution, `normal` no normalization.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS: Mapping[str, Family] = {
    r"(conv|convolution|convolutional|convnet|convnext)\b": "convolution",
    r"(attention|attn|attentional)\b": "attention",
    r"(norm|norms|normalize|normalization)\b": "normalization",
    r"(pool|pooling|pooler)\b": "pooling",
    r"(linear|embedding|embeddings)\b|(?<!to )dense$": "linear",  # a dense block is one of many layers
    r"(lstm|gru|rnnt?)\b": "recurrent",
    r"activation\b": "activation",
    r"dropout\b": "normalization",
    r"flatten\b": "shape",
}
_PARTS: tuple[tuple[re.Pattern[str], Family], ...] = tuple(
    (re.compile(words), family) for words, family in _WORDS.items()
)


def _without_rank(name: str) -> str:
    return re.sub(r"_?[123]d$", "", name.rstrip("_").lower())
