"""What is laid over a graph: what an input did in it, fields, gradients, times, what an explanation covers."""
