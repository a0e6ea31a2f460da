"""Variations of an input: paths, noise, windows, masks and what fills them."""
