"""The second run of a script compiles nothing."""

import json
import textwrap

import pytest

from helpers.commands import ROOT, TINY, config_flags, run_program
from helpers.compilation import quick_xla_flags

# Runs a script as `python SCRIPT FLAGS` does, and says what JAX counted.
PROGRAM = textwrap.dedent(
    """
    import json
    import runpy
    import sys
    import jax

    counts = {{"cache_hits": 0, "cache_misses": 0}}

    def count(name, **_):
        last = name.rpartition("/")[2]
        if last in counts:
            counts[last] += 1

    jax.monitoring.register_event_listener(count)
    sys.argv = {argv}
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
    print(json.dumps(counts))
    """
)


def counts(folder, *argv):
    """Returns what JAX counted in a process that keeps programs in a folder."""
    ours = {"IMG2EEG_CACHE": str(folder), "XLA_FLAGS": quick_xla_flags()}
    result = run_program(PROGRAM.format(argv=[*map(str, argv)]), cwd=ROOT, **ours)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def check_second(folder, first, second):
    """Checks that of two runs of the same the second compiled nothing."""
    found = counts(folder, *first)
    assert found["cache_misses"] > 0
    found = counts(folder, *second)
    assert found["cache_misses"] == 0
    assert found["cache_hits"] > 0


@pytest.mark.slow
class TestSecondRun:
    def test_of_predict(self, trained_original, data_original, tmp_path):
        images = data_original / "image_set" / "test_images"
        given = "predict.py", f"--checkpoint={trained_original[0]}"
        runs = (
            (*given, f"--images={images}", f"--output={tmp_path / name}")
            for name in ("one.npz", "two.npz")
        )
        check_second(tmp_path / "cache", *runs)

    def test_of_eval(self, trained_original, tmp_path):
        given = "eval.py", f"--checkpoint={trained_original[0]}", "--only=encoding"
        runs = ((*given, f"--output={tmp_path / name}") for name in ("one", "two"))
        check_second(tmp_path / "cache", *runs)

    def test_of_train(self, tmp_path):
        flags = config_flags(TINY)
        runs = (
            ("train.py", *flags, f"--workdir={tmp_path / name}")
            for name in ("one", "two")
        )
        check_second(tmp_path / "cache", *runs)
