"""Long lists of operations in groups: what repeats, and stretches from one cut to the next, so that all is seen."""
