"""What the trust checks stand on: the places of an input, masked copies that were run, agreement of two maps."""
