"""What patches are made with: where activations are, the largest of them, and the parts that are cut out."""
