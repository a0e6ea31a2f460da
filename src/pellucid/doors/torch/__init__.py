"""Files of torch: checkpoints, whole modules, exported programs, scripts."""
