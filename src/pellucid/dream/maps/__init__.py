"""What maps of many activations are made with: collected, whitened, reduced, measured, drawn."""
