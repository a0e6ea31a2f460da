"""ONNX files as torch modules: parse, check, build, run; our own importer, differentiable throughout."""
