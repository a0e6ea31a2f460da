"""Recording: one pass written down operation by operation, run again, cut short, resumed, and its receptive fields."""
