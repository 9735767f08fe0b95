"""Train an image-to-EEG encoder: python train.py --config=FILE --workdir=DIR."""

from img2eeg_jax.scripts.train import run

if __name__ == "__main__":
    run()
