"""What setup.cfg cannot say: the recipes in `configs/` go into the package.

An installation has them in `img2eeg_jax/recipes/configs`, where recipes that are named
are looked for.
"""

import setuptools

setuptools.setup(
    packages=[
        *setuptools.find_packages(include=["img2eeg_jax*"]),
        "img2eeg_jax.recipes.configs",
    ],
    package_dir={"img2eeg_jax.recipes.configs": "configs"},
)
