"""What the images of a synthetic data set were drawn from."""

import csv

import numpy as np

from img2eeg_jax.data.sources import synthetic


def of(data_dir):
    """Returns {partition: f64[image, property]}."""
    rows = {"training": [], "test": []}
    with open(data_dir / "properties.csv", newline="") as file:
        for row in csv.DictReader(file):
            values = [float(row[name]) for name in synthetic.PROPERTY_NAMES]
            rows[row["partition"]].append(values)
    return {partition: np.array(values) for partition, values in rows.items()}
