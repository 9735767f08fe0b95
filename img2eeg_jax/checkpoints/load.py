"""Networks loaded from checkpoints, ready to be used."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

import flax.linen as nn
import numpy as np

from img2eeg_jax.checkpoints import pretrained, run_folder, store
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import naming, unexpected
from img2eeg_jax.models.cornet_s import CORnetS


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network that was loaded.

    Attributes:
      path: the folder that was asked for.
      step: training step of the checkpoint.
      description: what the checkpoint says of it.
      variables: {"params": …, "batch_stats": …}, NumPy arrays.
      which: "best" or "last": the latter also where the best was asked for, but none
        could be selected.
    """

    path: pathlib.Path
    step: int
    description: Description
    variables: dict[str, Any]
    which: str = "last"

    @property
    def model(self) -> nn.Module:
        """The module that the variables belong to."""
        return self.description.build_model()

    @property
    def has_backbone(self) -> bool:
        """Whether it is made of CORnet-S; linear encoders may read other networks."""
        return self.description.linear is None or bool(
            self.description.model.get("width")
        )

    @property
    def backbone(self) -> tuple[CORnetS, dict[str, Any]]:
        """CORnet-S and its variables, of any kind of network.

        Raises:
          InputError: it is a linear encoder of another backbone.
        """
        arguments = self.description.model
        if not self.has_backbone:
            linear = self.description.linear or {"backbone": {"name": "none"}}
            found = f"one of {linear['backbone']['name']}"
            raise unexpected(self.path, "a network made of CORnet-S", found)
        if isinstance(self.model, CORnetS):
            return self.model, self.variables
        model = CORnetS(arguments["width"], arguments["num_classes"])
        return model, {name: tree["realnet"] for name, tree in self.variables.items()}

    def of_subject(self, subject: int | str | None) -> "Checkpoint":
        """Takes one subject's outputs of a network that several share.

        Raises:
          InputError: the subject is not one of those that share it.
        """
        with naming(self.path):
            description = self.description.of_subject(subject)
        subjects = self.description.subjects or ()
        params = dict(self.variables["params"])
        position = next(i for i, one in enumerate(subjects) if one == subject)
        params["fc"] = {
            name: np.split(value, len(subjects), axis=-1)[position]
            for name, value in params["fc"].items()
        }
        variables = {**self.variables, "params": params}
        return dataclasses.replace(self, description=description, variables=variables)

    @functools.cached_property
    def config(self) -> dict[str, Any] | None:
        """The run's config as it stands in `config.json`; None without that file.

        Raises:
          InputError: the file is damaged.
        """
        return run_folder.read_config(self.path)

    @functools.cached_property
    def history(self) -> list[dict[str, float]]:
        """One row of `metrics.csv` for each epoch of the run; [] without that file.

        Raises:
          InputError: the file is damaged.
        """
        return run_folder.read_metrics(self.path)


def load_checkpoint(
    path: str | os.PathLike, which: str = "best", subject: int | str | None = None
) -> Checkpoint:
    """Loads a network from a work directory or a converter's output folder.

    Args:
      path: the folder, one that `Encoder.save_pretrained` wrote, or
        ``hf://OWNER/NAME[@REVISION][/FOLDER]``, which reads what that wrote.
      which: "best" or "last"; where no checkpoint was selected, both are the last.
      subject: whose network, where several share one.

    Raises:
      InputError: no checkpoint there, or one that is damaged or whose arrays do not
        fit its description; or the network has no output for this subject.
    """
    loaded = load_whole(path, which)
    return loaded.of_subject(subject) if loaded.description.subjects else loaded


def load_whole(path: str | os.PathLike, which: str = "best") -> Checkpoint:
    """Loads a network as it is stored: one that subjects share with all its outputs.

    Arguments and errors are those of `load_checkpoint`.
    """
    if pretrained.is_on_hub(path):
        # Imported here: the hub's library is slow to load.
        from img2eeg_jax.checkpoints import hub

        path = hub.fetch(os.fspath(path))
    path = pathlib.Path(path)
    if pretrained.is_at(path):
        return Checkpoint(path, *pretrained.read_network(path))
    return Checkpoint(path, *store.read_network(path, which))
