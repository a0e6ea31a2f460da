"""Files of weights: their tensors are listed before a number is read."""
