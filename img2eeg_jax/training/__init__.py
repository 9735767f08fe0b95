"""State, step, devices, checkpoints and the loop."""
