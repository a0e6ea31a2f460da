"""Model files of other programs: what each is, and how it becomes something that opens here.  A table, and no parser.

A file is told by its first bytes, then by its whole name, then by words in its text, then by its extension.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable

_ZIP = b"PK\x03\x04"
_ONWARD = ", then pl.open('model.onnx')."
DISTRIBUTED, SKLEARN = "a distributed checkpoint of torch, in parts", "a joblib or scikit-learn pickle"
_NONE = "Nothing converts it back: open the model that it was compiled from."


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of model file: its name in a sentence, how it is told, and the next step.

    `marks`: bytes at a place in the file's beginning; `names`: whole file names; `words`: what stands in a text file's
    first 4 KiB, all of them; `extensions` in lower case.
    """

    name: str
    advice: str
    extensions: tuple[str, ...] = ()
    marks: tuple[tuple[int, bytes], ...] = ()
    names: tuple[str, ...] = ()
    words: tuple[bytes, ...] = ()


def _to_onnx(command: str) -> str:
    return f"Convert it: {command}{_ONWARD}"


FORMATS: tuple[Format, ...] = (
    # frameworks for training
    Format(
        "a PaddlePaddle model",
        _to_onnx("pip install paddlepaddle paddle2onnx, paddle2onnx --model_dir . --model_filename NAME.pdmodel "
                 "--params_filename NAME.pdiparams --save_file model.onnx"),
        (".pdmodel", ".pdiparams", ".pdparams", ".pdopt"), names=("__model__", "__params__"),
    ),
    Format(
        "an MXNet model",
        _to_onnx("in an environment with Python 3.8, pip install mxnet==1.9.1 onnx, and in Python "
                 "mx.onnx.export_model('NAME-symbol.json', 'NAME-0000.params', [SHAPE], onnx_file_path='model.onnx')"),
        (".params", "-symbol.json"), ((0, b"\x12\x01\x00\x00\x00\x00\x00\x00"),),
    ),
    Format(
        "a Caffe model",
        _to_onnx("pip install mmdnn, mmconvert -sf caffe -in deploy.prototxt -iw NAME.caffemodel -df onnx "
                 "-om model.onnx"),
        (".caffemodel", ".prototxt"),
    ),
    Format(
        "a Caffe2 model",
        _to_onnx("with PyTorch 1.x, python -m caffe2.python.onnx.bin.conversion caffe2-to-onnx predict_net.pb "
                 "--caffe2-init-net init_net.pb -o model.onnx"),
        names=("predict_net.pb", "init_net.pb", "predict_net.pbtxt", "init_net.pbtxt"),
    ),
    Format(
        "a Torch 7 (Lua) file",
        "Read its tensors: pip install torchfile, torchfile.load(path); build the network in PyTorch with them, then "
        "pl.open(model).",
        (".t7",),
    ),
    Format(
        "a Darknet model (YOLO)",
        "Build it in PyTorch: pip install pytorchyolo, pytorchyolo.models.load_model('NAME.cfg', 'NAME.weights'), then "
        "pl.open(model).",
        (".weights",), words=(b"[net]", b"batch"),
    ),
    Format(
        "a TensorFlow checkpoint",
        _to_onnx("pip install tensorflow tf2onnx, python -m tf2onnx.convert --checkpoint NAME.meta --inputs NAME:0 "
                 "--outputs NAME:0 --output model.onnx"),
        (".meta", ".ckpt-meta"), names=("checkpoint",),
    ),
    Format(
        "the weights of a TensorFlow checkpoint",
        "Give the .meta file or the SavedModel folder beside it, which hold the architecture.",
        (".index",), names=("variables.index",),
    ),
    Format(
        "a TensorFlow.js model",
        "Convert it: pip install tensorflowjs, tensorflowjs_converter --input_format=tfjs_layers_model "
        "--output_format=keras model.json model.h5, then pl.open('model.h5').",
        words=(b'"modelTopology"',),
    ),
    Format(
        "a map that Pellucid wrote (JSON)",
        "It draws a network and holds none. Read its graph in Python: pellucid.architecture.text.from_text(text). For "
        "another picture, map the network itself.",
        words=(b'{"pellucid":"graph"',),
    ),
    Format(
        "a Keras architecture without weights (JSON)",
        "Build it in Python and load its weights: model = keras.models.model_from_json(text), "
        "model.load_weights(path), then pl.open(model).",
        words=(b'"class_name"', b'"config"', b'"layers"'),
    ),
    Format(
        "an exported JAX function",
        "Convert it where it was made: pip install jax2onnx, jax2onnx.to_onnx(function, inputs), then pl.open the "
        "file; or give the function itself: pl.open(lambda x: ...).",
        (".jax_export", ".jax"),
    ),
    Format(
        "the weights of a Flax model (msgpack)",
        "If it is a Hugging Face model: with transformers 4, AutoModel.from_pretrained(folder, from_flax=True)"
        ".save_pretrained(new_folder), then pl.open(new_folder).",
        (".msgpack",),
    ),
    Format(
        "a CNTK model",
        _to_onnx("with Python 3.6, pip install cntk, cntk.Function.load(path).save('model.onnx', "
                 "format=cntk.ModelFormat.ONNX)"),
        (".cntk", ".dnn"),
    ),
    Format(
        "a MindSpore model",
        _to_onnx("pip install mindspore, mindspore.export(network, inputs, file_name='model', file_format='ONNX')"),
        (".mindir", ".ms"),
    ),
    Format(
        "a Neural Network Libraries (nnabla) model",
        _to_onnx("pip install nnabla-converter, nnabla_cli convert NAME.nnp model.onnx"), (".nnp", ".nntxt"),
    ),
    Format("a MegEngine model", "Load it with megengine and export it with mgeconvert's onnx.", (".mge", ".pkl.mge")),
    Format("a Deeplearning4j model", "Import its weights in Python: it is a ZIP of configuration.json and "
           "coefficients.bin; build the network in PyTorch with them.", names=("coefficients.bin",)),
    Format("a Flux (Julia) model", "Export its weights from Julia as .npz and build the network in PyTorch.",
           (".bson",)),
    Format("a BigDL model", "Export it from BigDL to ONNX or Caffe, then open that.", (".bigdl",)),
    Format("a KANN model", "Build the network in PyTorch with its weights.", marks=((0, b"KAN\x01"),)),
    Format("a MATLAB model", "Export it from MATLAB: exportONNXNetwork(net, 'model.onnx').", (".mlnet",),
           ((0, b"MATLAB 5.0 MAT-file"),)),
    Format("the graph of a TensorFlow SavedModel", "Give the folder that it lies in.", names=("saved_model.pb",)),
    Format(
        DISTRIBUTED,
        "If you trust it (this unpickles its .metadata), make one file of it: python -m "
        "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt, then pl.open('model.pt', "
        "architecture=...).",
        (".distcp",), names=(".metadata",),
    ),
    Format(
        "a CTranslate2 model, as of faster-whisper",
        "Open the transformers model that it was converted from; nothing converts it back.",
        marks=tuple((6, f"{kind}Spec\0".encode()) for kind in ("Whisper", "Transformer", "TransformerDecoder",
                                                               "TransformerEncoder", "Wav2Vec2", "Wav2Vec2Bert")),
    ),
    # formats for running on devices
    Format(
        "a Core ML model",
        "Open the model that it was made from; a neural network of the old kind (.mlmodel) converts: pip install "
        "onnxmltools coremltools, onnxmltools.convert_coreml(coremltools.utils.load_spec(path)), saved as .onnx.",
        (".mlmodel", ".mlpackage", ".mlmodelc", ".mil"), names=("model.mil", "coremldata.bin"),
    ),
    Format(
        "an OpenVINO model",
        "Give it as a function, for methods that need no gradient: pip install openvino, "
        "model = openvino.Core().compile_model('NAME.xml'), pl.open(lambda x: model(x.numpy())[0]).",
        words=(b"<net ", b"<layers>"),
    ),
    Format("the weights of an OpenVINO model, or raw numbers", "Give the .xml file beside it, which says what it is.",
           (".blob",)),
    Format(
        "an ncnn model",
        "Give it as a function, for methods that need no gradient: pip install ncnn, run it in Python, and "
        "pl.open(lambda x: ...).",
        (".param",), words=(b"7767517",),
    ),
    Format("a PNNX model", "Open the TorchScript file that it was made from, or use NAME_pnnx.py beside it.",
           (".pnnx.param",)),
    Format(
        "an MNN model",
        _to_onnx("pip install MNN, mnnconvert -f MNN --modelFile NAME.mnn --JsonFile NAME.json shows it; "
                 "export ONNX from the model that it was made from"),
        (".mnn",),
    ),
    Format("a TNN model", _NONE, (".tnnproto", ".tnnmodel")),
    Format("a Tengine model", _NONE, (".tmfile",)),
    Format("a MACE, Arm NN or SNPE (DLC) model", _NONE, (".dlc", ".armnn")),
    Format("a TensorRT engine", _NONE, (".engine", ".plan", ".trt"), ((0, b"ptrt"), (0, b"ftrt"))),
    Format("a TensorRT UFF file", "Open the TensorFlow model that it was made from.", (".uff",)),
    Format("an ExecuTorch program", "It is compiled for devices. Open the PyTorch model, or its torch.export file "
           "(.pt2), that it was made from.", (".pte",), ((4, b"ET12"), (4, b"ET13"))),
    Format("an ONNX Runtime model (ORT)", "Open the .onnx file that it was made from.", (".ort",), ((4, b"ORTM"),)),
    Format("a LiteRT-LM bundle", _NONE, (".litertlm", ".task"), ((0, b"LITERTLM"),)),
    Format("a Circle model (ONE)", "Open the TensorFlow Lite or ONNX file that it was made from.", (".circle",),
           ((4, b"CIR0"),)),
    Format("a Rockchip (RKNN) model", _NONE, (".rknn",), ((0, b"RKNN"),)),
    Format("a Kendryte (kmodel) model", _NONE, (".kmodel",), ((0, b"KMDL"), (0, b"LDMK"))),
    Format("a Xilinx Vitis model", _NONE, (".xmodel",)),
    Format("an Ascend (OM) model", _NONE, (".om",), ((0, b"IMOD"),)),
    Format("a Hailo model", _NONE, (".hef", ".har"), ((0, b"\x01HEF"),)),
    Format("a Qualcomm QNN model", _NONE, ("_net.json",)),
    Format("an ESP-DL model", _NONE, (".espdl",), ((0, b"EDL2"), (0, b"EDL1"))),
    Format("an Espresso (Apple) model", _NONE, (".espresso.net", ".espresso.shape", ".espresso.weights")),
    Format("a Barracuda (Unity) model", "Open the .onnx file that it was made from.", (".nn", ".sentis")),
    Format("an Imagination (IMG DNN) model", _NONE, names=("model.imgdnn",)),
    Format("an Acuity (VeriSilicon) model", "Open the model that it was made from.", words=(b'"MetaData"', b"Acuity")),
    Format("an oneDNN graph", "Open the model that it was recorded from.", words=(b'"engine_kind"', b'"graph"')),
    Format("a Cambricon model", _NONE, (".cambricon",), ((0, b"\x7fMEF"), (0, b"cambricon_offline"))),
    Format("an NNC model", _NONE, (".nnc",)),
    Format("a VNN model", _NONE, (".vnnmodel",)),
    Format("a TVM module", _NONE, (".tvm",), words=(b'"op": "tvm_op"',)),
    Format("a MediaPipe graph", "It joins several models: open one of them (.tflite).",
           words=(b"input_stream:", b"node {")),
    # graphs and other descriptions
    Format("an MLIR module", "Open the model that it was lowered from; with pip install iree-base-compiler "
           "iree-base-runtime it can be run and given as a function.", (".mlir", ".mlirbc", ".stablehlo"),
           ((0, b"ML\xefR"),)),
    Format("a TOSA graph", "Open the model that it was lowered from.", (".tosa",), ((4, b"TOSA"),)),
    Format("an NNEF model", "Convert it: pip install nnef-tools, python -m nnef_tools.convert --input-format nnef "
           "--output-format onnx --input-model FOLDER --output-model model.onnx, then pl.open('model.onnx').",
           (".nnef",), names=("graph.nnef",)),
    Format("a Graphviz drawing", "It is a picture of a graph and holds no network.", (".dot", ".gv")),
    Format("a TensorFlow event log", "It is a log: open the model that was trained.", names=("events.out.tfevents",)),
    Format("a TensorBoard or Netron graph without weights", "Open the model that it was drawn from.",
           (".netron", ".maxviz")),
    # models that are no networks, and parts of models
    Format("an XGBoost model", "It is a forest, which has no layers. Give it as a function: pip install xgboost, load "
           "it, and pl.open(lambda x: model.inplace_predict(x.numpy())).", (".ubj",), ((0, b"binf"), (0, b"bs64")),
           words=(b'"learner"', b'"gradient_booster"')),
    Format("a LightGBM model", "It is a forest, which has no layers. Give it as a function: pip install lightgbm, "
           "model = lightgbm.Booster(model_file=path), pl.open(lambda x: model.predict(x.numpy())).",
           (".lgb",), words=(b"tree\nversion=",)),
    Format("a CatBoost model", "It is a forest, which has no layers. Give it as a function: pip install catboost, "
           "model = catboost.CatBoost().load_model(path), pl.open(lambda x: model.predict(x.numpy())).",
           (".cbm",), ((0, b"CBM1"),)),
    Format("a PMML model", "Give it as a function: pip install pypmml, load it, and pl.open(lambda x: ...).",
           (".pmml",), words=(b"<PMML",)),
    Format("a Weka model", "It is a serialized Java object, which runs code when it is opened. Train it again, or give "
           "it as a function.", marks=((0, b"\xac\xed\x00\x05"),)),
    Format("a SentencePiece vocabulary", "It cuts text into tokens and is no network: open the folder that it lies in.",
           (".spm",), names=("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")),
    Format(SKLEARN, "A pickle can run any code when it is opened, so Pellucid never opens "
           "one. If you trust it, load it in Python; a multilayer perceptron or a linear model opens as it is: "
           "pl.open(model); anything else as a function: pl.open(model.predict_proba).",
           (".joblib", ".skops")),
    Format("an R data file", "It runs code when it is opened. Export the model from R as ONNX or its weights as .npz.",
           (".rds", ".rdata"), ((0, b"RDX3"), (0, b"RDX2"))),
    Format("a LoRA or other adapter", "It changes another model: merge the two, then open the result.",
           names=("adapter_model.safetensors", "adapter_model.bin")),
    # pictures and volumes of medicine are inputs, not models
    Format("a NIfTI volume", "It is an input, not a model: export a slice as a 16-bit PNG, or pass its array.",
           (".nii", ".nii.gz"), ((344, b"n+1\x00"),)),
    Format("a MONAI bundle", "Unpack it and open its TorchScript file: pl.open('models/model.ts').", (".mar",),
           words=(b'"monai_version"',)),
    Format("an nnU-Net plan", "Build the network with nnunetv2 in Python, then pl.open(model).",
           words=(b'"configurations"', b'"patch_size"')),
)  # fmt: skip


def format_of(name: str, head: bytes) -> Format | None:
    """The format that a file's first 4 KiB and its name speak of, or None.

    >>> format_of("resnet.engine", b"ptrt")
    Format(name='a TensorRT engine', ...)
    """
    lower = PurePath(name).name.lower()
    for marked in FORMATS:
        if any(head[at : at + len(mark)] == mark for at, mark in marked.marks):
            return marked
    for named in FORMATS:
        if lower in named.names or any(n.endswith(".tfevents") and lower.startswith(n) for n in named.names):
            return named
    text = not head.startswith(_ZIP)  # of which a member may be stored as it is, with such words in it
    for told in FORMATS:
        if text and told.words and all(word in head for word in told.words):
            return told
    fitting = [(len(e), f) for f in FORMATS for e in f.extensions if lower.endswith(e)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def refusal_of(name: str, head: bytes, kind: str = "") -> BadModel | None:
    """The error that says what a file is and how to go on; None for a file that the table does not know.

    `kind` is the name of its format where that is known, else the first bytes and the name are asked.
    """
    found = next((f for f in FORMATS if f.name == kind), None) if kind else format_of(name, head)
    if found is None:
        return None
    return BadModel(f"{printable(PurePath(name).name)} is {found.name}, which does not open as it is.", found.advice)
