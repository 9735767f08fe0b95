"""What was compiled is kept, apart for CPUs with other instructions."""

import json
import textwrap

import pytest

from helpers.commands import run_program
from helpers.compilation import quick_xla_flags
from img2eeg_jax.devices.compiled import kind_of_cpu

# Two cores of an x86 CPU, shortened.
X86 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763
stepping\t: 1
cpu MHz\t\t: 2445.424
flags\t\t: fpu sse2 avx2
bogomips\t: 4890.84

processor\t: 1
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763
stepping\t: 1
cpu MHz\t\t: 3243.111
flags\t\t: avx2 fpu sse2
bogomips\t: 4891.00
"""
ARM = """\
processor\t: 0
Features\t: fp asimd sve
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""

# Compiles one program, and says what JAX counted and where it looked.
PROGRAM = textwrap.dedent(
    """
    import json
    import jax
    from img2eeg_jax.devices.compiled import keep_compiled_programs

    counts = {"cache_hits": 0, "cache_misses": 0}

    def count(name, **_):
        last = name.rpartition("/")[2]
        if last in counts:
            counts[last] += 1

    jax.monitoring.register_event_listener(count)
    keep_compiled_programs()
    assert float(jax.jit(lambda x: 2 * x + 1)(3.0)) == 7
    print(json.dumps(counts | {"folder": jax.config.jax_compilation_cache_dir}))
    """
)


def compile_once(folder, **environment):
    ours = {"IMG2EEG_CACHE": str(folder), "XLA_FLAGS": quick_xla_flags()}
    result = run_program(PROGRAM, **ours | environment)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return json.loads(result.stdout)


class TestKindOfCPU:
    def test_frequency_and_order_do_not_matter(self):
        one_core = X86[: X86.index("\n\n")]
        other = one_core.replace("2445.424", "800.0").replace("4890.84", "1.0")
        assert kind_of_cpu(X86, 2) == kind_of_cpu(other, 2)
        assert kind_of_cpu(X86, 2).startswith("cpu-")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("sse2 avx2", "sse2 avx2 avx512f"),
            ("model\t\t: 1", "model\t\t: 17"),
            ("AuthenticAMD", "GenuineIntel"),
            ("family\t: 25", "family\t: 26"),
        ],
    )
    def test_other_cpus_are_another_kind(self, old, new):
        assert kind_of_cpu(X86.replace(old, new), 2) != kind_of_cpu(X86, 2)

    def test_cores_matter(self):
        assert kind_of_cpu(X86, 2) != kind_of_cpu(X86, 4)

    def test_arm(self):
        kinds = {kind_of_cpu(ARM, 1), kind_of_cpu(ARM.replace(" sve", ""), 1)}
        assert len(kinds) == 2
        assert None not in kinds

    @pytest.mark.parametrize("text", ["", "processor\t: 0\nisa\t\t: rv64imafdc\n"])
    def test_unknown(self, text):
        assert kind_of_cpu(text, 2) is None


class TestKept:
    def test_a_second_process_compiles_nothing(self, tmp_path):
        first, second = (compile_once(tmp_path) for _ in range(2))
        assert first["cache_misses"] > 0
        assert first["cache_hits"] == 0
        assert second["cache_misses"] == 0
        assert second["cache_hits"] == first["cache_misses"]
        (kind,) = (tmp_path / "compiled").iterdir()
        assert str(kind) == first["folder"]
        assert kind.name.startswith("cpu-")

    def test_whoever_chose_another_folder(self, tmp_path):
        own = str(tmp_path / "own")
        found = compile_once(tmp_path, JAX_COMPILATION_CACHE_DIR=own)
        assert found["folder"] == own
        assert not (tmp_path / "compiled").exists()

    def test_whoever_wants_none(self, tmp_path):
        found = compile_once(tmp_path, JAX_ENABLE_COMPILATION_CACHE="0")
        assert found["cache_hits"] == found["cache_misses"] == 0
        assert not (tmp_path / "compiled").exists()
