"""Fit linear encoders: python fit_linear.py --backbone=… --data_dir=… --workdir=…."""

from img2eeg_jax.scripts.fit_linear import run

if __name__ == "__main__":
    run()
