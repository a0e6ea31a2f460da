"""Attention of any model: caught in a pass, followed from layer to layer, and laid back onto the input."""
