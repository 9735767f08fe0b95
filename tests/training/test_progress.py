"""What an epoch shows: a bar on a terminal, else a line every ten minutes."""

import io
import re

import pytest

from img2eeg_jax.timing import timed, timed_once
from img2eeg_jax.training import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Returns a function that lets seconds pass; tqdm has a clock of its own."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def show(clock, **arguments):
    """Shows 4 steps of 10 images and 4 minutes each; returns the lines."""
    lines = []
    with progress.EpochProgress(
        "epoch 2/3", 50, 10, lines.append, **arguments
    ) as shown:
        for loss in (4.0, None, 0.5, 0.123456):
            clock(240)
            shown.update(10)
            shown.show_loss(loss)
    return lines


def test_bar_on_a_terminal(clock, monkeypatch):
    """It tells loss, rate and time left."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert show(clock, label="sub-02") == []
    done = r"epoch 2/3 sub-02: 100%.* 50/50 \[\d\d:\d\d<\d\d:\d\d, .*image/s, loss=0.1"
    assert re.search(done, terminal.getvalue())


@pytest.mark.parametrize("has_bar", [True, False])
def test_lines_elsewhere(has_bar, clock, monkeypatch):
    """After 12 minutes, with the last loss that is known; the loss comes late."""
    file = io.StringIO() if has_bar else Terminal()
    monkeypatch.setattr("sys.stderr", file)
    assert show(clock, has_bar=has_bar) == ["epoch 2/3: 40/50 images, loss 4"]
    assert file.getvalue() == ""


def test_lines_stand_above_the_bar(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.EpochProgress("epoch 1/1", 10, 0, print):
        before = terminal.tell()
        progress.print_line("a line")
    assert capsys.readouterr().out == "a line\n"
    # The bar is wiped first, and drawn again.
    assert terminal.getvalue()[before:].lstrip(" ").startswith("\r")
    assert "epoch 1/1:   0%" in terminal.getvalue()[before:]


def test_what_takes_long_is_told_when_it_begins(clock):
    lines = []
    with timed("reading data", lines.append):
        assert lines == ["reading data ..."]
        clock(12.34)
    assert lines[1:] == ["reading data took 12.3 s"]
    with pytest.raises(KeyError), timed("compiling", lines.append):
        raise KeyError
    assert lines[2:] == ["compiling ..."]


def test_only_the_first_call_compiles(clock):
    lines = []
    add = timed_once("compiling", lambda a, b: a + b, lines.append)
    assert (add(1, 2), add(3, 4)) == (3, 7)
    assert lines == ["compiling ...", "compiling took 0.0 s"]


def test_one_step_is_no_steps():
    row = {"epoch": 0, "train_total": 1.0, "train_skipped": 1.0}
    line = progress.epoch_line(row, "validation", None)
    assert line == "epoch 1: train loss 1, 1 step skipped"
    assert progress.over_line(1, 1) == "nothing to do: 1 epoch of 1 is done"
