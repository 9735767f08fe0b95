"""Predict EEG for images: python predict.py --checkpoint=… --images=… --output=…."""

from img2eeg_jax.scripts.predict import run

if __name__ == "__main__":
    run()
