"""Show the EEG of your pictures in a page: python app.py --checkpoint=runs/demo."""

from img2eeg_jax.scripts.app import run

if __name__ == "__main__":
    run()
