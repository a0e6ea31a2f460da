"""An ONNX graph as torch modules: one for every operation, with its weights, in the exporter's tree."""
