"""Keras 3 on its torch backend."""
