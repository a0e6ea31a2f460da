"""What a graph is made from: a recorded pass, a tree of modules, names of weights, an ONNX file."""
