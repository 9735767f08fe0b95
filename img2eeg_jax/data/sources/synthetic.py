"""A deterministic synthetic data set in the THINGS-EEG2 layout.

Images are drawn from six properties: an ellipse (hue, size, horizontal position) on a
grating (contrast, orientation, spatial frequency). The EEG of an image is a sum of
evoked components whose amplitudes, latencies and widths depend on the properties, plus
trial noise with a 1/f spectrum. All properties enter with about equal strength, so
that no single one predicts much of the response, and the noise-free response is kept,
so that the best possible score is known.
"""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import mne
import numpy as np
from PIL import Image

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources.things_eeg2 import OFFICIAL_CH_NAMES, OFFICIAL_TIMES_S
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import scratch_dir, write_text

CH_NAMES = OFFICIAL_CH_NAMES
TIMES_S = OFFICIAL_TIMES_S
AXES = Axes(CH_NAMES, TIMES_S, VOLTS)
SFREQ_HZ = 100.0
PROPERTY_NAMES = (
    "contrast",
    "orientation_rad",
    "frequency_cycles",
    "hue",
    "size",
    "position",
)

_MONTAGE = "colin27_1005"
# Bounds the memory that drawing takes.
_IMAGES_AT_A_TIME = 200
# Smallest and largest value of each property. Orientation and hue are circular.
# Frequency is in cycles per image, size and position in half image widths.
_RANGES = np.array(
    [[0.15, 1.0], [0.0, np.pi], [2.0, 8.0], [0.0, 1.0], [0.2, 0.6], [-0.45, 0.45]]
)
_IS_CIRCULAR = np.array([name in ("orientation_rad", "hue") for name in PROPERTY_NAMES])
# Spread of a concept's images around its mean, as a part of a property's range.
_WITHIN_CONCEPT_SPREAD = 0.12

# Columns of `_features`, and the property that each comes from.
_FEATURE_PROPERTY = np.array([0, 1, 1, 2, 3, 3, 4, 5])
_POSITION_FEATURE = 7

# Standard deviation over images of a source's modulation, and of single-trial noise.
_MODULATION_UV = 1.6
_NOISE_UV = 4.2
_WHITE_NOISE_UV = 1.0
# Distance over which noise stays correlated, in metres on the scalp.
_NOISE_RANGE_M = 0.06
# Standard deviation over images of a component's latency and of log(width).
_LATENCY_JITTER_S = 0.004
_LOG_WIDTH_JITTER = 0.08


@dataclasses.dataclass(frozen=True)
class _Component:
    """One deflection of the evoked response.

    Attributes:
      latency_s: peak time.
      width_s: standard deviation of its Gaussian time course.
      amplitude_uv: mean over images at a source's centre.
      modulation: strength of the dependence on the image, 1 = `_MODULATION_UV`.
      centres: an electrode below each source.
      range_m: distance over which a source's field falls off.
    """

    latency_s: float
    width_s: float
    amplitude_uv: float
    modulation: float
    centres: tuple[str, ...]
    range_m: float


_COMPONENTS = (
    _Component(0.080, 0.014, -2.0, 0.8, ("POz",), 0.07),
    _Component(0.115, 0.018, 4.0, 1.1, ("PO7", "PO8", "Oz"), 0.06),
    _Component(0.165, 0.022, -5.0, 1.2, ("P7", "P8", "POz"), 0.06),
    _Component(0.220, 0.026, 4.5, 1.2, ("PO3", "PO4", "Pz"), 0.07),
    _Component(0.280, 0.032, -2.5, 1.2, ("P5", "P6", "Oz"), 0.07),
    _Component(0.420, 0.090, 3.5, 0.8, ("Pz",), 0.09),
)


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What determines a synthetic data set, byte for byte.

    Attributes:
      seed: seed of everything random.
      n_training_concepts: number of concepts in the training partition.
      images_per_concept: images of each training concept; test concepts have one.
      n_test_concepts: number of other concepts, in the test partition.
      image_size: height and width of the images in pixels.
      training_repetitions: EEG trials of each training image.
      test_repetitions: EEG trials of each test image.
      subjects: subject numbers, from 1.
    """

    seed: int = 0
    n_training_concepts: int = 240
    images_per_concept: int = 10
    n_test_concepts: int = 100
    image_size: int = 64
    training_repetitions: int = 4
    test_repetitions: int = 20
    subjects: tuple[int, ...] = (1,)

    @property
    def n_images(self) -> dict[str, int]:
        """Returns the number of images of each partition."""
        n_training = self.n_training_concepts * self.images_per_concept
        return {"training": n_training, "test": self.n_test_concepts}

    def __post_init__(self):
        object.__setattr__(self, "subjects", tuple(self.subjects))
        values = dataclasses.asdict(self)
        seed, subjects = values.pop("seed"), values.pop("subjects")
        if seed < 0 or not subjects or min(*values.values(), *subjects) < 1:
            raise unexpected(
                "synthetic data",
                "a seed of at least 0 and all other numbers at least 1",
                self,
            )


def write_synthetic(
    data_dir: str | os.PathLike,
    *,
    seed: int = 0,
    n_training_concepts: int = 240,
    images_per_concept: int = 10,
    n_test_concepts: int = 100,
    image_size: int = 64,
    training_repetitions: int = 4,
    test_repetitions: int = 20,
    subjects: Sequence[int] = (1,),
) -> bool:
    """Writes a synthetic data set, as a whole or not at all.

    To one that is there and differs in its subjects only, those missing are added, so
    that the files are the same as if all had been written at once.

    Besides the files of the layout it holds ``synthetic.json`` (the arguments),
    ``properties.csv`` (what each image was drawn from) and, for each subject, the
    responses without noise.

    Args:
      data_dir: folder to make. A data set already there is never overwritten.
      seed: seed of everything random.
      n_training_concepts: number of concepts in the training partition.
      images_per_concept: images of each training concept; test concepts have one.
      n_test_concepts: number of other concepts, in the test partition.
      image_size: height and width of the images in pixels.
      training_repetitions: EEG trials of each training image.
      test_repetitions: EEG trials of each test image.
      subjects: subject numbers, from 1.

    Returns:
      True if something was written, False if all of it was there.

    Raises:
      InputError: a number is out of range, or the folder holds something else.
    """
    parameters = Parameters(
        seed=seed,
        n_training_concepts=n_training_concepts,
        images_per_concept=images_per_concept,
        n_test_concepts=n_test_concepts,
        image_size=image_size,
        training_repetitions=training_repetitions,
        test_repetitions=test_repetitions,
        subjects=tuple(subjects),
    )
    target = pathlib.Path(data_dir).absolute()
    present = _present_subjects(target, parameters)
    missing = set(parameters.subjects) - set(present)
    if not missing:
        return False
    if present:
        _add_subjects(target, parameters, present)
        return True
    with scratch_dir(target.parent, target.name) as scratch:
        new = scratch / "data"
        _write(new, parameters)
        try:
            os.replace(new, target)
        except OSError:
            # Another process may have been faster.
            if set(parameters.subjects) <= set(_present_subjects(target, parameters)):
                return False
            raise
    return True


def _add_subjects(
    target: pathlib.Path, parameters: Parameters, present: Sequence[int]
) -> None:
    new = tuple(sorted(set(parameters.subjects) - set(present)))
    together = tuple(sorted({*new, *present}))
    with scratch_dir(target, "subjects") as scratch:
        _write(scratch, dataclasses.replace(parameters, subjects=new), has_images=False)
        for subject in new:
            path = layout.record_path(target, subject).parent
            # A stopped run may have added it whole, though it is not listed yet.
            if not path.exists():
                os.replace(layout.record_path(scratch, subject).parent, path)
    everything = dataclasses.replace(parameters, subjects=together)
    write_text(target / "synthetic.json", _as_json(everything))


def noise_free_path(
    data_dir: str | os.PathLike, subject: int, partition: str
) -> pathlib.Path:
    """Returns the path of a subject's responses without noise."""
    folder = layout.eeg_path(data_dir, subject, partition).parent
    return folder / f"noise_free_{partition}.npy"


def noise_free_response(
    data_dir: str | os.PathLike, subject: int, partition: str
) -> np.ndarray | None:
    """Reads the responses without noise of a synthetic data set.

    Args:
      data_dir: the data set.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      f32[image, channel, time] in volts, or None if the data set is not synthetic.

    Raises:
      InputError: the data set is synthetic and its file is missing or damaged.
    """
    if not (pathlib.Path(data_dir) / "synthetic.json").exists():
        return None
    path = noise_free_path(data_dir, subject, partition)
    content = layout.read_npy_dict(path)
    if "noise_free_eeg_data" not in content:
        raise unexpected(
            path,
            "the key 'noise_free_eeg_data'",
            f"the keys {', '.join(map(str, content))}",
        )
    return content["noise_free_eeg_data"]


def image_properties(n_concepts: int, images_per_concept: int, seed: int) -> np.ndarray:
    """Draws the properties of images, which vary around the means of their concepts.

    Args:
      n_concepts: number of concepts.
      images_per_concept: images of each concept.
      seed: seed of the draw.

    Returns:
      f64[image, property], in the units of `PROPERTY_NAMES`; images of a concept
      follow each other.
    """
    rng = np.random.default_rng(seed)
    n_properties = len(PROPERTY_NAMES)
    means = rng.uniform(size=(n_concepts, 1, n_properties))
    spread = rng.normal(
        scale=_WITHIN_CONCEPT_SPREAD,
        size=(n_concepts, images_per_concept, n_properties),
    )
    position = (means + spread).reshape(-1, n_properties)
    # Circular properties wrap around, the others are reflected at the ends.
    reflected = 1 - np.abs(1 - np.abs(position) % 2)
    unit = np.where(_IS_CIRCULAR, position % 1, reflected)
    low, high = _RANGES.T
    return low + unit * (high - low)


def draw_images(properties: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draws one image for each row of properties.

    Args:
      properties: f64[image, property], see `image_properties`.
      size: height and width in pixels.
      seed: seed of what the properties leave open (phase, shape, height, light).

    Returns:
      u8[image, size, size, 3].
    """
    rng = np.random.default_rng(seed)
    n_images = len(properties)
    contrast, angle, frequency, hue, radius, position = properties.T[..., None, None]
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = axis[:, None], axis[None, :]

    def nuisance(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, size=(n_images, 1, 1))

    phase, light = nuisance(0, 2 * np.pi), nuisance(-0.08, 0.08)
    stripes = x * np.cos(angle) + y * np.sin(angle)
    grating = np.sin(np.pi * frequency * stripes + phase)
    background = 0.5 + 0.36 * contrast * grating + light * y

    # An ellipse of the given area and of random aspect, height and roundness.
    aspect, power = np.exp(nuisance(-0.25, 0.25)), nuisance(1.6, 4.0)
    u = np.abs(x - position) / (radius * aspect)
    v = np.abs(y - nuisance(-0.3, 0.3)) / (radius / aspect)
    inside = 1 / (1 + np.exp(np.minimum(14 * (u**power + v**power - 1), 50)))
    colour = _hue_to_rgb(hue[:, 0, 0])
    shade = 1 - 0.25 * np.minimum(u**2 + v**2, 1)

    tinted = background[..., None] * (0.75 + 0.25 * colour[:, None, None, :])
    filled = (shade * (0.9 + 0.1 * grating))[..., None] * colour[:, None, None, :]
    image = tinted + inside[..., None] * (filled - tinted)
    image += rng.normal(scale=0.02, size=image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def simulate_responses(properties: np.ndarray, subject: int, seed: int) -> np.ndarray:
    """Computes evoked responses without noise.

    Args:
      properties: f64[image, property], see `image_properties`.
      subject: subject number; subjects differ in topography, latency and gain.
      seed: seed of the data set.

    Returns:
      f64[image, channel, time] in volts.
    """
    features = _features(properties)
    shared = np.random.default_rng([seed, 1])
    own = np.random.default_rng([seed, 2, subject])
    positions_m = _electrode_positions_m(CH_NAMES)
    response_uv = np.zeros((len(features), len(CH_NAMES), len(TIMES_S)))
    for component in _COMPONENTS:
        time_course = _time_courses(component, features, shared, own)
        amplitude_uv = _source_amplitudes(component, features, shared, own)
        fields = _source_fields(component, positions_m, own)
        topography_uv = amplitude_uv @ fields
        response_uv += topography_uv[:, :, None] * time_course[:, None, :]
    return response_uv * 1e-6


def simulate_noise(
    n_images: int, n_repetitions: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws trial noise with a 1/f spectrum, correlated between near electrodes.

    Args:
      n_images: number of images.
      n_repetitions: trials of each image.
      rng: source of randomness.

    Returns:
      f32[image, repetition, channel, time] in volts, baseline-corrected.
    """
    n_channels, n_times = len(CH_NAMES), len(TIMES_S)
    # Twice the epoch, because noise made by an FFT is periodic.
    shape = (n_images, n_repetitions, n_channels, 2 * n_times)
    frequencies_hz = np.fft.rfftfreq(2 * n_times, 1 / SFREQ_HZ)
    gain = np.zeros(len(frequencies_hz), np.float32)
    gain[1:] = frequencies_hz[1:] ** -0.5
    gain *= _NOISE_UV / np.sqrt(np.mean(gain**2))
    mixing = np.linalg.cholesky(_noise_covariance()).astype(np.float32)
    noise_uv = np.empty((*shape[:3], n_times), np.float32)
    for image_noise_uv in noise_uv:
        white = rng.standard_normal(shape[1:], np.float32)
        spectrum = np.fft.rfft(white) * gain
        image_noise_uv[:] = mixing @ np.fft.irfft(spectrum)[..., :n_times]
    noise_uv += _WHITE_NOISE_UV * rng.standard_normal(noise_uv.shape, np.float32)
    noise_uv -= noise_uv[..., TIMES_S <= 0].mean(axis=-1, keepdims=True)
    noise_uv *= 1e-6
    return noise_uv


def present_subjects(
    data_dir: str | os.PathLike, subjects: Sequence[int] = (1,)
) -> tuple[int, ...]:
    """Returns the subjects of a data set that `write_synthetic` wrote by its defaults.

    Args:
      data_dir: the folder; need not exist.
      subjects: those that are wanted, from 1.

    Raises:
      InputError: the folder holds something else.
    """
    parameters = Parameters(subjects=tuple(subjects))
    return _present_subjects(pathlib.Path(data_dir).absolute(), parameters)


def _present_subjects(target: pathlib.Path, parameters: Parameters) -> tuple[int, ...]:
    """Returns the subjects that are there; refuses a folder that holds other data."""
    path = target / "synthetic.json"
    if path.exists():
        return _read_parameters(path, parameters).subjects
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise unexpected(
            target, "a new or empty folder for the synthetic data set", "other files"
        )
    return ()


def _read_parameters(path: pathlib.Path, expected: Parameters) -> Parameters:
    """Reads synthetic.json, which may differ from what is expected in subjects only."""
    try:
        found = Parameters(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise unexpected(
            path, "the parameters of a synthetic data set", error
        ) from error
    values = dataclasses.asdict(expected)
    different = [
        name
        for name, value in dataclasses.asdict(found).items()
        if name != "subjects" and value != values[name]
    ]
    if different:
        raise InputError(
            f"{path}: expected "
            + ", ".join(f"{name} {values[name]}" for name in different)
            + ", found "
            + ", ".join(f"{getattr(found, name)}" for name in different)
            + "; choose another folder"
        )
    return found


def _as_json(parameters: Parameters) -> str:
    return json.dumps(dataclasses.asdict(parameters), indent=2) + "\n"


def _write(root: pathlib.Path, parameters: Parameters, has_images: bool = True) -> None:
    """Writes a data set, or only the EEG of its subjects."""
    sizes = {
        "training": (
            parameters.n_training_concepts,
            parameters.images_per_concept,
            parameters.training_repetitions,
        ),
        "test": (parameters.n_test_concepts, 1, parameters.test_repetitions),
    }
    seed = parameters.seed
    names, properties = {}, {}
    for code, (partition, (n_concepts, n_each, n_repetitions)) in enumerate(
        sizes.items()
    ):
        first = 1 if partition == "training" else parameters.n_training_concepts + 1
        names[partition] = _image_names(n_concepts, n_each, first)
        properties[partition] = image_properties(
            n_concepts, n_each, _child_seed(seed, 3, code)
        )
        folder = root / "image_set" / f"{partition}_images"
        n_images = len(properties[partition]) if has_images else 0
        for start in range(0, n_images, _IMAGES_AT_A_TIME):
            rows = slice(start, start + _IMAGES_AT_A_TIME)
            images = draw_images(
                properties[partition][rows],
                parameters.image_size,
                _child_seed(seed, 4, code, start),
            )
            _write_images(folder, names[partition][rows], images)
        for subject in parameters.subjects:
            noise_free = simulate_responses(properties[partition], subject, seed)
            rng = np.random.default_rng([seed, 5, code, subject])
            trials = simulate_noise(len(noise_free), n_repetitions, rng)
            trials += noise_free[:, None]
            _write_eeg(root, subject, partition, trials, noise_free)
    if not has_images:
        return
    layout.write_image_metadata(root, **names)
    _write_properties(root / "properties.csv", names, properties)
    (root / "synthetic.json").write_text(_as_json(parameters), encoding="utf-8")


def _child_seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _image_names(
    n_concepts: int, images_per_concept: int, first: int
) -> list[tuple[str, str]]:
    """Returns (concept, file name) of each image, in sorted order."""
    digits = len(str(images_per_concept))
    return [
        (f"{k - first + 1:05d}_shape{k:04d}", f"shape{k:04d}_{i + 1:0{digits}d}s.jpg")
        for k in range(first, first + n_concepts)
        for i in range(images_per_concept)
    ]


def _write_images(
    folder: pathlib.Path, names: Sequence[tuple[str, str]], images: np.ndarray
) -> None:
    for (concept, name), image in zip(names, images, strict=True):
        path = folder / concept / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without chroma subsampling, which would blur the colours of small images.
        Image.fromarray(image).save(path, quality=95, subsampling=0)


def _write_eeg(
    root: pathlib.Path,
    subject: int,
    partition: str,
    trials: np.ndarray,
    noise_free: np.ndarray,
) -> None:
    eeg = layout.PreprocessedEEG(trials, AXES)
    layout.write_eeg(root, subject, partition, eeg)
    layout.write_npy_dict(
        noise_free_path(root, subject, partition),
        {
            "noise_free_eeg_data": noise_free.astype(np.float32),
            "ch_names": list(CH_NAMES),
            "times": TIMES_S,
        },
    )


def _write_properties(
    path: pathlib.Path,
    names: dict[str, list[tuple[str, str]]],
    properties: dict[str, np.ndarray],
) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("partition", "concept", "file", *PROPERTY_NAMES))
        for partition, images in names.items():
            for name, values in zip(images, properties[partition], strict=True):
                writer.writerow((partition, *name, *values.tolist()))


def _hue_to_rgb(hue: np.ndarray) -> np.ndarray:
    """Returns saturated colours, f64[image, 3] in 0 ... 1, of a hue in 0 ... 1."""
    angle = 2 * np.pi * (hue[:, None] - np.array([0, 1, 2]) / 3)
    return 0.5 + 0.45 * np.cos(angle)


def _features(properties: np.ndarray) -> np.ndarray:
    """Turns properties into numbers of mean 0 and variance 1 over all images.

    The moments are those of the uniform distribution that properties come from.
    Circular properties give a cosine and a sine, so that 0 and 180 degrees agree.
    """
    low, high = _RANGES.T
    unit = (properties - low) / (high - low)
    linear = np.sqrt(12) * (unit - 0.5)
    circle = 2 * np.pi * unit
    contrast, orientation, frequency, hue, size, position = range(6)
    return np.stack(
        [
            linear[:, contrast],
            np.sqrt(2) * np.cos(circle[:, orientation]),
            np.sqrt(2) * np.sin(circle[:, orientation]),
            linear[:, frequency],
            np.sqrt(2) * np.cos(circle[:, hue]),
            np.sqrt(2) * np.sin(circle[:, hue]),
            linear[:, size],
            linear[:, position],
        ],
        axis=1,
    )


def _weights(rng: np.random.Generator) -> np.ndarray:
    """Draws weights over features: f64[feature], the same strength per property."""
    n_properties = len(PROPERTY_NAMES)
    strength = np.exp(rng.normal(scale=0.2, size=n_properties))
    strength *= rng.choice([-1, 1], size=n_properties)
    turn = rng.uniform(0, 2 * np.pi, size=n_properties)
    # A circular property's pair of features shares its strength.
    is_first = np.append(True, np.diff(_FEATURE_PROPERTY) > 0)
    is_pair = _IS_CIRCULAR[_FEATURE_PROPERTY]
    angle = turn[_FEATURE_PROPERTY]
    shares = np.where(is_first, np.cos(angle), np.sin(angle))
    weights = strength[_FEATURE_PROPERTY] * np.where(is_pair, shares, 1.0)
    return weights / np.linalg.norm(weights)


def _time_courses(
    component: _Component,
    features: np.ndarray,
    shared: np.random.Generator,
    own: np.random.Generator,
) -> np.ndarray:
    """Returns f64[image, time], 1 at the peak; the image moves and widens it."""
    shift, widening = features @ _weights(shared), features @ _weights(shared)
    latency_s = component.latency_s + own.normal(scale=0.004)
    latency_s = latency_s + _LATENCY_JITTER_S * shift
    width_s = component.width_s * np.exp(_LOG_WIDTH_JITTER * widening)
    return np.exp(-0.5 * ((TIMES_S - latency_s[:, None]) / width_s[:, None]) ** 2)


def _source_amplitudes(
    component: _Component,
    features: np.ndarray,
    shared: np.random.Generator,
    own: np.random.Generator,
) -> np.ndarray:
    """Returns f64[image, source] in microvolts."""
    gain = np.exp(own.normal(scale=0.15))
    amplitudes_uv = []
    for centre in component.centres:
        weights = _weights(shared)
        side = _side(centre)
        if side:
            # An object on one side drives the other hemisphere.
            weights[_POSITION_FEATURE] = -side * abs(weights[_POSITION_FEATURE])
        weights = weights + own.normal(scale=0.05, size=len(weights))
        modulation_uv = component.modulation * _MODULATION_UV * (features @ weights)
        amplitudes_uv.append(gain * (component.amplitude_uv + modulation_uv))
    return np.stack(amplitudes_uv, axis=1)


def _side(ch_name: str) -> int:
    """Returns -1 for a left, 1 for a right and 0 for a midline electrode."""
    if ch_name.endswith("z"):
        return 0
    return -1 if int(ch_name[-1]) % 2 else 1


def _source_fields(
    component: _Component, positions_m: np.ndarray, own: np.random.Generator
) -> np.ndarray:
    """Returns the smooth fields f64[source, channel] of a component, at most 1."""
    centres_m = _electrode_positions_m(component.centres)
    centres_m = centres_m + own.normal(scale=0.006, size=centres_m.shape)
    distance_m = np.linalg.norm(positions_m - centres_m[:, None], axis=2)
    return np.exp(-0.5 * (distance_m / component.range_m) ** 2)


def _noise_covariance() -> np.ndarray:
    positions_m = _electrode_positions_m(CH_NAMES)
    distance_m = np.linalg.norm(positions_m - positions_m[:, None], axis=2)
    return np.exp(-distance_m / _NOISE_RANGE_M)


def _electrode_positions_m(ch_names: Sequence[str]) -> np.ndarray:
    """Returns f64[channel, 3] in metres, from MNE's 10-05 template."""
    positions = mne.channels.make_standard_montage(_MONTAGE).get_positions()["ch_pos"]
    return np.stack([positions[name] for name in ch_names])
