"""PyTorch weights in and out: python convert_torch_weights.py --input=… --output=…."""

from img2eeg_jax.scripts.convert_torch_weights import run

if __name__ == "__main__":
    run()
