"""Hugging Face models, from folders and from the local cache."""
