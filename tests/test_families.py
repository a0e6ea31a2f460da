"""Families of operations and layers, by their names in torch, ONNX, Keras and in classes that somebody wrote."""

from __future__ import annotations

from pellucid.architecture.sources.families import family_of


def test_families_of_torch_and_onnx_names():
    expected = {"convolution": "conv2d Conv conv_transpose1d ConvInteger", "linear": "linear MatMul addmm Gemm",
                "attention": "scaled_dot_product_attention MultiHeadAttention", "pooling": "max_pool2d MaxPool",
                "normalization": "batch_norm LayerNormalization LlamaRMSNorm", "recurrent": "lstm GRU LSTMCell",
                "shape": "getitem Reshape cat_ Transpose", "arithmetic": "add_ Mul aten.sub ReduceMean",
                "activation": "relu_ HardSwish log_softmax GELU", "other": "frobnicate", "io": "input"}  # fmt: skip
    for family, names in expected.items():
        assert {family_of(name) for name in names.split()} == {family}


def test_a_family_is_told_by_whole_words_of_a_name():
    """Neither is what is quantized a layer of weights, nor a conversion a convolution, nor a normal law a norm."""
    expected = {
        "arithmetic": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearAdd dequantize",
        "convolution": "QLinearConv SeparableConv2D VitMatteBasicConv3x3", "pooling": "MaxPool3D",
        "activation": "com.microsoft::QLinearSigmoid", "shape": "QLinearConcat", "attention": "ClassAttn",
        "linear": "QLinearMatMul MyDense", "normalization": "EvoNorm2dB0 SpatialDropout1D",
        "recurrent": "ConvolvedLSTM", "other": "_convert_weight_to_int4pack RandomNormal to_dense DenseBlock",
    }  # fmt: skip
    for family, names in expected.items():
        assert {name: family_of(name) for name in names.split()} == dict.fromkeys(names.split(), family)
