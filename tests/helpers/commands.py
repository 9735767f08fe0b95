"""Runs the scripts as a user does: each in a process of its own."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from configs import demo
from helpers.compilation import quick_xla_flags

ROOT = pathlib.Path(__file__).parents[2]

# Key and value of the config; seconds a run.
TINY = {
    "synthetic.n_training_concepts": 6,
    "synthetic.images_per_concept": 4,
    "synthetic.n_test_concepts": 8,
    "synthetic.test_repetitions": 4,
    "synthetic.image_size": 32,
    "image_size": 32,
    "width": 4,
    "features": 8,
    "validation_concepts": 2,
    "num_epochs": 2,
    "batch_size": 8,
    "window_s": (0.1, 0.2),
    "task": "mse",
    # The cosine would compile another step for each number of epochs.
    "learning_rate_schedule": "constant",
}


def run_program(program, cwd=None, timeout_s=None, **environment):
    """Runs Python code in a process of its own; returns its CompletedProcess."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


class Commands:
    """Starts scripts whose processes share what JAX compiles."""

    def __init__(self, cache_dir):
        self.cache_dir = cache_dir
        self.environment = os.environ | {
            # XLA_FLAGS="" is what a user has.
            "XLA_FLAGS": quick_xla_flags(),
            "JAX_COMPILATION_CACHE_DIR": str(cache_dir),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            # Of an entry that another process writes just now, or was killed in, JAX
            # says that it cannot read it; it then compiles.
            "PYTHONWARNINGS": "ignore:Error reading persistent compilation cache",
        }

    def start(self, script, *flags, **environment):
        """Starts a script from the repository; returns its Popen."""
        return subprocess.Popen(
            [sys.executable, script, *flags],
            cwd=ROOT,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script, *flags, **environment):
        """Runs a script to its end; returns its CompletedProcess."""
        process = self.start(script, *flags, **environment)
        return finish(process)

    def train(self, workdir, changes=(), config="configs/demo.py", **environment):
        """Runs train.py with tiny settings and `changes` of them."""
        return finish(self.start_train(workdir, changes, config, **environment))

    def start_train(
        self, workdir, changes=(), config="configs/demo.py", flags=(), **environment
    ):
        flags = [*config_flags(TINY | dict(changes), config), *flags]
        return self.start("train.py", *flags, f"--workdir={workdir}", **environment)

    def stop_train(self, workdir, changes, number, n_epochs, **environment):
        """Starts train.py and sends it a signal in the epoch after `n_epochs`."""
        process = self.start_train(workdir, changes, **environment)
        deadline = time.monotonic() + 120
        while n_rows(workdir) < n_epochs and process.poll() is None:
            assert time.monotonic() < deadline, "the run does not get on"
            time.sleep(0.002)
        time.sleep(0.05)
        process.send_signal(number)
        return finish(process)


def tiny_config(changes=()):
    """Returns the config of `Commands.train`, for calls in this process."""
    config = demo.get_config()
    config.update_from_flattened_dict(TINY | dict(changes))
    return config.lock()


def config_flags(changes, config="configs/demo.py"):
    """Returns --config and the --config.KEY=VALUE of a dict."""
    if config != "configs/demo.py":
        changes = {k: v for k, v in changes.items() if not k.startswith("synthetic.")}
    return [f"--config={config}", *(f"--config.{k}={v}" for k, v in changes.items())]


def finish(process):
    """Waits for a process; returns what `subprocess.run` would."""
    try:
        out, err = process.communicate(timeout=600)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def free_port():
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def n_rows(workdir):
    """Returns the number of epochs in metrics.csv."""
    path = pathlib.Path(workdir) / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def check_done(result):
    """Checks that a process ended well."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert not messages(result), result.stderr


def check_refused(result, *patterns, status=1):
    """Checks the exit status and the one line on standard error."""
    assert result.returncode == status, (result.returncode, result.stderr)
    (line,) = messages(result)
    for pattern in patterns:
        assert re.search(pattern, line), (pattern, line)


def messages(result):
    """Returns the lines on standard error that are not a progress bar's."""
    lines = re.split(r"[\r\n]+", result.stderr)
    return [line for line in lines if line and not line.startswith("epoch ")]


KILL, INTERRUPT, TERMINATE = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
