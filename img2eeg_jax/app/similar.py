"""The test images whose predicted EEG is most like that of a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.report_page.pictures import thumbnail_uri
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.streaming import Predictor

# Test images that are shown of each picture.
N_SHOWN = 6


class TestImages:
    """The test images of a network's data, by the EEG that it predicts of them."""

    # Pytest takes the name for a test's.
    __test__ = False

    def __init__(self, names: Sequence[str], images: np.ndarray, responses: np.ndarray):
        """Keeps the images and what is predicted of them.

        Args:
          names: of each image.
          images: u8[image, size, size, 3].
          responses: f32[image, channel, time], predicted.
        """
        self._names, self._images = tuple(names), images
        self._units = _units(responses)

    @classmethod
    def of(cls, encoder: Predictor) -> "TestImages | None":
        """Predicts the test images of the run that an encoder is of.

        Args:
          encoder: a network; of a mean over several, and of one whose data are not at
            hand as shards, there is None.
        """
        if not isinstance(encoder, Encoder):
            return None
        try:
            # Imported here: TensorFlow, which reads shards, comes with the extra
            # `train`, and the page does without.
            from img2eeg_jax.evaluation.measured import shards_at_hand
        except InputError:
            return None
        shards = shards_at_hand(encoder.checkpoint)
        if shards is None:
            return None
        images = np.asarray(shards.images["test"][:])
        eeg = encoder(images, progress=False)
        return cls(shards.image_list["test"], images, eeg.data)

    def most_similar(self, responses: np.ndarray) -> list[list[dict[str, Any]]]:
        """Returns the most similar images of each picture, the most similar first.

        Args:
          responses: f32[picture, channel, time], predicted.

        Returns:
          For each picture `N_SHOWN` of `name`, `r` (over channels and times) and
          `thumbnail`, fewer if there are fewer images.
        """
        r = _units(responses) @ self._units.T
        return [
            [
                {
                    "name": self._names[row],
                    "r": round(float(of_picture[row]), 3),
                    "thumbnail": thumbnail_uri(self._images[row]),
                }
                for row in np.argsort(-of_picture, kind="stable")[:N_SHOWN]
            ]
            for of_picture in r
        ]


def _units(responses: np.ndarray) -> np.ndarray:
    """Returns f64[image, value], centred and of length 1, so that products are r."""
    flat = responses.reshape(len(responses), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(lengths > 0, lengths, 1)
