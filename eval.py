"""Score an image-to-EEG encoder: python eval.py --checkpoint=DIR."""

from img2eeg_jax.scripts.evaluate import run

if __name__ == "__main__":
    run()
