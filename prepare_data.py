"""From downloads or recordings to shards: python prepare_data.py --data_dir=DIR."""

from img2eeg_jax.scripts.prepare_data import run

if __name__ == "__main__":
    run()
