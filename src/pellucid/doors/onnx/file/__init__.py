"""From the bytes of an untrusted ONNX file to plain data: what is checked first, decoding, stored numbers."""
