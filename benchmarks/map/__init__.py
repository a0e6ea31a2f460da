"""Time to the first whole picture of a network: from an ONNX file to what stands on the screen."""
