"""What a checkpoint says of its network: enough to rebuild it and name its outputs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from img2eeg_jax.axes import UNKNOWN, Axes
from img2eeg_jax.data.pairing import Pairing, comparable
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.linear_encoder import LinearEncoder, Readout
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import SignalLayout

FORMAT = 3

# Kinds of networks that a checkpoint may hold, with what rebuilds them.
MODELS = {
    "realnet": ReAlNet,
    "cornet_s": CORnetS,
    "linear": LinearEncoder,
    "readout": Readout,
}


@dataclasses.dataclass(frozen=True)
class Description:
    """A network, what its outputs mean, and where it comes from.

    Attributes:
      kind: "realnet"; "cornet_s", which predicts no signal; "linear", a read-out of
        CORnet-S with its backbone; or "readout", the linear part alone, whose features
        another network makes.
      model: arguments of its module: numbers, text, and tuples of them.
      image_size: height and width of its images in pixels.
      signal: what its signal means, the EEG's axes and unit included; None of CORnet-S.
      zscore: statistics of the EEG that it was trained on, by which a prediction gets
        the EEG's unit again; None where they are not known.
      subject: whose EEG it predicts; None if that is not known.
      subjects: where several share the network, whose EEG each output is; `zscore` has
        an axis of subjects then, and `subject` is None. Else None.
      initial_weights: what training started from, or the file that was converted.
      config: of the run that trained it; None of converted weights.
      data: of the training data: `image_list_sha256`; `preprocessing`, the record of
        how the EEG was made (None if it was made elsewhere; where several share the
        network a list, one each); and whether it is `simulated`, which versions before
        did not record. None of converted weights.
      pairings: split of the training data → which image goes with which EEG, by files
        and by pixels; None of converted weights, and of formats before 3.
      source: where converted weights come from (see `interop.sources`), or None.
      torch: what the file of converted weights had beside them (see
        `interop.convert`), or None.
      linear: of a linear encoder, what it was fitted with: `backbone` (kind, name,
        digest and what else builds it again), `layers`, `pool`, and of the regression
        `preset`, penalties and the scores that chose them; else None.
    """

    kind: str
    model: Mapping[str, Any]
    image_size: int
    signal: SignalLayout | None = None
    zscore: ZScore | None = None
    subject: int | str | None = None
    subjects: tuple[int | str, ...] | None = None
    initial_weights: str = "random"
    config: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    pairings: Mapping[str, tuple[Pairing, ...]] | None = None
    source: Mapping[str, Any] | None = None
    torch: Mapping[str, Any] | None = None
    linear: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # JSON gives lists back, but modules are static arguments of jit: hashed.
        arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.model.items()
        }
        object.__setattr__(self, "model", arguments)

    @property
    def precision(self) -> str:
        """Of its matrix products, as `config.precision`; float32 of converted weights.

        A network whose config tells of none has that of its module.
        """
        own = self.model.get("dtype", "float32")
        return (self.config or {}).get("precision", own)

    @property
    def has_images(self) -> bool:
        """Whether it takes images itself, and not what another network makes."""
        return self.kind != "readout"

    @property
    def simulated(self) -> bool:
        """Whether it was trained on simulated EEG, not on a brain's."""
        config, data = self.config or {}, self.data or {}
        # A run that names no data simulates them.
        made_them = "synthetic" in config and not config.get("data_dir")
        return data.get("simulated", made_them)

    @property
    def encoder_signal(self) -> SignalLayout:
        """`signal` of a network that predicts one.

        Raises:
          InputError: it is CORnet-S alone.
        """
        if self.signal is None:
            raise unexpected("", "an encoder", f"{self.kind}, which predicts no signal")
        return self.signal

    def build_model(self, **changes: Any) -> nn.Module:
        """Rebuilds the module; `changes` override its arguments."""
        return MODELS[self.kind](**{**self.model, **changes})

    def of_subject(self, subject: int | str | None) -> "Description":
        """Returns the description of one subject's outputs of a shared network.

        Raises:
          InputError: the subject is not one of those that share it.
        """
        if subject is None or subject not in (self.subjects or ()):
            raise unexpected(
                "",
                f"one of the subjects {list(self.subjects or ())} that share this "
                "network",
                f"{subject or 'none'}; `subject` names one",
            )
        position = (self.subjects or ()).index(subject)
        shape, data = self.model["signal_shape"][1:], self.data
        # Older ones have the record of the first subject only.
        if data is not None and isinstance(data["preprocessing"], list):
            data = {**data, "preprocessing": data["preprocessing"][position]}
        return dataclasses.replace(
            self,
            subject=subject,
            subjects=None,
            model={**self.model, "signal_shape": shape},
            zscore=self.zscore and self.zscore.of_subject(position),
            data=data,
        )

    def data_difference(self, other: "Description") -> str | None:
        """Tells how the data of another description of one run differ.

        With pairings on both sides, images and EEG may have other names, or be in
        another order together. Without them, the z-score tells of EEG that changed, but
        for the order of its rows. A unit that is "unknown", and `data` that are None,
        fit any other: checkpoints of format 1 have neither.

        Args:
          other: the description with the data of now.

        Returns:
          What the data are instead, in words; or None if they are the same.
        """
        ours, theirs = (_in_unit(one.signal, UNKNOWN) for one in (self, other))
        if ours != theirs:
            return "data with another signal"
        units = {_unit(one.signal) for one in (self, other)} - {UNKNOWN}
        if len(units) > 1:
            return f"EEG in another unit, {_unit(other.signal)!r}"
        if self.pairings is not None and other.pairings is not None:
            return _pairs_difference(self.pairings, other.pairings)
        if self.zscore != other.zscore:
            return "data with another zscore"
        known = [one.data for one in (self, other) if one.data is not None]
        if len({data["image_list_sha256"] for data in known}) > 1:
            return "another list of images"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Returns the description in plain values, for JSON."""
        entries = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for name in ("signal", "zscore"):
            if entries[name] is not None:
                entries[name] = entries[name].to_dict()
        if self.pairings is not None:
            entries["pairings"] = {
                split: [dataclasses.asdict(one) for one in of]
                for split, of in self.pairings.items()
            }
        return {"format": FORMAT, **_plain(entries)}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Description":
        """Rebuilds a description from `to_dict`, also of formats 1 and 2.

        Raises:
          InputError: it is of another format.
          KeyError, TypeError, ValueError: it is no description.
        """
        entries = dict(entries)
        found = entries.pop("format")
        if found not in range(1, FORMAT + 1):
            raise unexpected(
                "", f"a description of format 1 to {FORMAT}", f"format {found!r}"
            )
        if found == 1:
            entries = _from_format_1(entries)
        if found in (1, 2):
            entries["pairings"] = None
        if entries["pairings"] is not None:
            entries["pairings"] = {
                split: tuple(Pairing(**one) for one in of)
                for split, of in entries["pairings"].items()
            }
        if entries["signal"] is not None:
            entries["signal"] = SignalLayout.from_dict(entries["signal"])
        if entries["zscore"] is not None:
            entries["zscore"] = ZScore.from_dict(entries["zscore"])
        if entries["subjects"] is not None:
            entries["subjects"] = tuple(entries["subjects"])
        return cls(**entries)


def _from_format_1(entries: dict[str, Any]) -> dict[str, Any]:
    """Returns entries of format 2: format 1 knew no unit and no origin of data."""
    ch_names, signal = entries.pop("ch_names"), entries["signal"]
    if signal is not None:
        times_s = signal["times_s"]
        eeg = Axes(ch_names, np.asarray(times_s)).to_dict() if times_s else None
        entries["signal"] = {
            **{name: signal[name] for name in ("kind", "shape", "window")},
            "eeg": eeg,
        }
    return {"subjects": None, **entries}


def _pairs_difference(
    ours: Mapping[str, Sequence[Pairing]], theirs: Mapping[str, Sequence[Pairing]]
) -> str | None:
    """Returns how splits differ, in words, or None."""
    if ours.keys() != theirs.keys():
        return f"the splits {', '.join(theirs)}"
    for split, of in ours.items():
        one, other = comparable(of, theirs[split])
        if different := one.difference(other):
            return f"{different} in the {split} split"
    return None


def _unit(signal: SignalLayout | None) -> str:
    return UNKNOWN if signal is None or signal.eeg is None else signal.eeg.unit


def _in_unit(signal: SignalLayout | None, unit: str) -> SignalLayout | None:
    """Returns the layout with another unit, where it has one."""
    if signal is None or signal.eeg is None:
        return signal
    return dataclasses.replace(signal, eeg=dataclasses.replace(signal.eeg, unit=unit))


def _plain(value: Any) -> Any:
    """Turns mappings and tuples into dicts and lists, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
