"""Shapes that a file leaves out: by the standard's inference, and by computing what it computes about shapes."""
