"""Times shards and the input pipeline at full size: one JSON line per measurement.

    python -m benchmarks.input_pipeline

`build` makes shards from files, `pipeline` opens them and goes over training images and
all subjects' EEG in random order (in turns with the `batches.py` of another version,
`--rival`), `eeg` reads and averages the EEG of more and more
subjects, `formats` gathers random batches of images from shards, from an array in
memory and from an uncompressed ArrayRecord file of bare images, in turns. Each runs in
a process of its own. The data are random: small JPEG images, and EEG of 17 channels and
100 times that all subjects share. They take 10 GB of disk at full size.
"""

import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from concurrent import futures

import numpy as np
from absl import app, flags
from PIL import Image

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import examples, layout

_DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder to keep the data in, or none.")
_IMAGES = flags.DEFINE_integer("images", 16540, "Training images.", lower_bound=10)
_TEST_IMAGES = flags.DEFINE_integer("test_images", 200, "Test images.", lower_bound=2)
_SUBJECTS = flags.DEFINE_integer("subjects", 3, "Subjects.", lower_bound=1)
_PROCESSES = flags.DEFINE_integer("processes", 1, "Processes that build.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Images a batch.")
_RUNS = flags.DEFINE_integer("runs", 3, "Runs of all but the first.", lower_bound=1)
_RIVAL = flags.DEFINE_string(
    "rival", "", "Path of another version's data/batches.py, timed in turns."
)
_NAMES = flags.DEFINE_multi_enum(
    "name",
    ["build", "pipeline", "eeg", "formats"],
    ["build", "pipeline", "eeg", "formats"],
    "What to time, in this order; may be given several times.",
)

IMAGE_SIZE = 224
# Pixels of the JPEG files; real ones are 500 pixels wide and take longer to decode.
FILE_SIZE = 80
IMAGES_A_CONCEPT = 10
REPETITIONS = {"training": 4, "test": 80}
N_CHANNELS, N_TIMES = 17, 100


def main(argv):
    """Prints one JSON line per name."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        data_dir = pathlib.Path(_DATA_DIR.value or folder)
        sizes = {"training": _IMAGES.value, "test": _TEST_IMAGES.value}
        subjects = tuple(range(1, _SUBJECTS.value + 1))
        in_new_process(write_data, data_dir, sizes, subjects)
        for name in _NAMES.value:
            load = os.getloadavg()[0]
            line = in_new_process(
                MEASURE[name],
                data_dir,
                subjects,
                batch_size=_BATCH_SIZE.value,
                runs=_RUNS.value,
                processes=_PROCESSES.value,
                rival=_RIVAL.value,
            )
            line |= {"images": sum(sizes.values()), "load_before": round(load, 2)}
            print(json.dumps({"name": name} | line), flush=True)


def in_new_process(function, *args, **kwargs):
    """Calls a function where the peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def write_data(data_dir, sizes, subjects):
    """Writes what is not there yet of a random data set."""
    if layout.metadata_path(data_dir).exists():
        return
    rng = np.random.default_rng(0)
    listed = {}
    for partition, n_images in sizes.items():
        listed[partition] = [
            (f"{row // IMAGES_A_CONCEPT:05d}_concept", f"image_{row:05d}.jpg")
            for row in range(n_images)
        ]
        folder = layout.metadata_path(data_dir).parent / f"{partition}_images"
        for concept, name in listed[partition]:
            (folder / concept).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (FILE_SIZE, FILE_SIZE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / concept / name)
        shape = (n_images, REPETITIONS[partition], N_CHANNELS, N_TIMES)
        eeg = layout.PreprocessedEEG(
            rng.standard_normal(shape),
            Axes(
                tuple(f"O{channel}" for channel in range(N_CHANNELS)),
                np.arange(N_TIMES) / 100 - 0.2,
            ),
        )
        first, *others = (layout.eeg_path(data_dir, s, partition) for s in subjects)
        layout.write_eeg(data_dir, subjects[0], partition, eeg)
        for path in others:
            path.parent.mkdir(exist_ok=True)
            os.link(first, path)
    layout.write_image_metadata(data_dir, **listed)


def build(data_dir, subjects, *, processes, **_):
    """Builds the shards of all subjects that are not there; returns the line."""
    from img2eeg_jax.data.shards import builder

    lines: list = []
    start = time.perf_counter()
    builder.ensure_shards(
        data_dir,
        layout.shards_path(data_dir),
        subjects=subjects,
        image_size=IMAGE_SIZE,
        processes=processes,
        log=lines.append,
    )
    seconds = time.perf_counter() - start
    line = {
        "seconds": round(seconds, 1),
        "subjects": len(subjects),
        "built": len(lines),
        "processes": processes,
        "peak_gb": round(peak_gb(), 2),
    }
    if processes > 1:
        line["peak_gb_of_a_worker"] = round(peak_gb(resource.RUSAGE_CHILDREN), 2)
    return line


def pipeline(data_dir, subjects, *, batch_size, runs, rival, **_):
    """Goes over the training data of all subjects; returns what the line says."""
    from img2eeg_jax.data import batches
    from img2eeg_jax.data.shards import store  # noqa: F401 (its import takes seconds)

    start = time.perf_counter()
    shards = open_shards(data_dir, subjects)
    opening = time.perf_counter() - start
    concepts = set(shards.concepts["training"])
    data = examples.load_encoding_data(
        shards,
        subjects=subjects,
        channels=None,
        window_s=None,
        n_validation_concepts=min(100, len(concepts) - 1),
        split_seed=0,
    )
    loading = time.perf_counter() - start
    modules = {"": batches} | ({"rival_": load_module(rival)} if rival else {})
    rates = {prefix: [] for prefix in modules}
    for epoch in range(runs):
        for prefix, module in modules.items():
            start = time.perf_counter()
            for _batch in module.batches(
                data.train, batch_size=batch_size, seed=0, epoch=epoch
            ):
                pass
            seconds = time.perf_counter() - start
            rates[prefix].append(len(data.train.index) / seconds)
    line = {}
    for prefix, values in rates.items():
        line[f"{prefix}images_per_second"] = round(statistics.median(values))
        line[f"{prefix}all_images_per_second"] = [round(value) for value in values]
    return line | {
        "opening_seconds": round(opening, 2),
        "loading_seconds": round(loading, 1),
        "subjects": len(subjects),
        "batch_size": batch_size,
        "peak_gb": round(peak_gb(), 2),
    }


def eeg(data_dir, subjects, *, runs, **_):
    """Averages the EEG of one subject, of two and so on."""
    shards = open_shards(data_dir, subjects)
    n_bytes = sum(
        layout.eeg_path(data_dir, subjects[0], partition).stat().st_size / 2
        for partition in layout.PARTITIONS
    )
    seconds: dict[int, float] = {}
    for n_subjects in range(1, len(subjects) + 1):
        values = []
        for _run in range(runs):
            start = time.perf_counter()
            for subject in subjects[:n_subjects]:
                for partition in layout.PARTITIONS:
                    shards.eeg(subject).means(partition)
            values.append(time.perf_counter() - start)
        seconds[n_subjects] = statistics.median(values)
    return {
        "seconds_of_n_subjects": {n: round(value, 2) for n, value in seconds.items()},
        "gb_per_second": {
            n: round(n * n_bytes / value / 1e9, 2) for n, value in seconds.items()
        },
        "gb_of_a_subject": round(n_bytes / 1e9, 2),
        "peak_gb": round(peak_gb(), 2),
    }


def formats(data_dir, subjects, *, batch_size, runs, **_):
    """Gathers random batches in three ways, each on one thread."""
    from array_record.python import array_record_data_source, array_record_module

    del subjects
    images = open_shards(data_dir, ()).images["training"]
    in_memory = images[:4096]
    n_images = len(in_memory)
    with tempfile.TemporaryDirectory(dir=data_dir) as folder:
        path = os.path.join(folder, "images.array_record")
        writer = array_record_module.ArrayRecordWriter(
            path, "group_size:1,uncompressed"
        )
        for image in in_memory:
            writer.write(image.tobytes())
        writer.close()
        source = array_record_data_source.ArrayRecordDataSource([path])

        def read_array_record(rows):
            batch = np.empty((len(rows), *images.shape[1:]), np.uint8)
            records = source.__getitems__(rows.tolist())
            for image, record in zip(batch, records, strict=True):
                image[:] = np.frombuffer(record, np.uint8).reshape(image.shape)
            return batch

        readers = {
            "shards": images.__getitem__,
            "memory": in_memory.__getitem__,
            "array_record": read_array_record,
        }
        seconds = {name: [] for name in readers}
        order = np.random.default_rng(0).permutation(n_images)
        for _run in range(runs):
            for name, read in readers.items():
                start = time.perf_counter()
                for first in range(0, n_images, batch_size):
                    read(order[first : first + batch_size])
                seconds[name].append(time.perf_counter() - start)
    rates = {
        name: n_images / statistics.median(values) for name, values in seconds.items()
    }
    return {
        "images_per_second": {name: round(rate) for name, rate in rates.items()},
        "shards_over_array_record": round(rates["shards"] / rates["array_record"], 1),
        "shards_over_memory": round(rates["shards"] / rates["memory"], 2),
        "batch_size": batch_size,
        "images_read": n_images,
    }


def open_shards(data_dir, subjects):
    """Opens the shards that `build` makes."""
    from img2eeg_jax.data.shards.store import Shards

    shards_dir = layout.shards_path(data_dir)
    return Shards.open(shards_dir, image_size=IMAGE_SIZE, subjects=subjects)


def load_module(path):
    """Imports a Python file that lies anywhere."""
    loader = importlib.machinery.SourceFileLoader("rival", str(path))
    spec = importlib.util.spec_from_loader("rival", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def peak_gb(who=resource.RUSAGE_SELF):
    """Returns the largest memory that this process, or one it waited for, has had."""
    peak = resource.getrusage(who).ru_maxrss
    return (peak if sys.platform == "darwin" else 1024 * peak) / 1e9


MEASURE = {"build": build, "pipeline": pipeline, "eeg": eeg, "formats": formats}


if __name__ == "__main__":
    app.run(main)
