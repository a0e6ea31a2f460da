"""The only layer that opens what nobody has vouched for: picture files, model files, packages with weights."""
