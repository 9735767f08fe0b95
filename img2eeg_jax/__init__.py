"""Predict the EEG a person's brain produces when they see an image, in JAX/Flax."""
