import functools

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from helpers.commands import check_refused, run_program
from img2eeg_jax.scripts import common


@pytest.fixture
def script_flags(monkeypatch):
    """The flags of a script with and without a config, instead of the real ones."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("overwrite", False, "", flag_values=values)
    flags.DEFINE_string("source", "", "", flag_values=values)
    flags.DEFINE_list("window", [], "", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    monkeypatch.setattr(
        flags, "DEFINE", functools.partial(flags.DEFINE, flag_values=values)
    )
    return values


@pytest.fixture
def config_of_script(script_flags):
    config = ConfigDict({"batch_size": 1, "source": 2, "synthetic": {"seed": 0}})
    config_flags.DEFINE_config_dict("config", config, flag_values=script_flags)
    script_flags(["script"])


@pytest.mark.parametrize(("text", "value"), [("all", None), ("3", 3)])
def test_a_text_may_be_read_as_none_whatever_the_default(script_flags, text, value):
    def read(text):
        return None if text == "all" else int(text)

    flag = common.define("count", "2", "a number, or all", read, "")
    script_flags(["script", f"--count={text}"])
    assert flag.value == value


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("there; `overwrite` replaces it", "there; --overwrite replaces it"),
        ("`source=osf` downloads", "--source=osf downloads"),
        ("`source=a b`, `overwrite`", "--source=a b, --overwrite"),
        ("`batch_size`: expected", "`batch_size`: expected"),
        ("`window_s`: expected", "--window: expected"),
        ("a file named `x y`, `", "a file named `x y`, `"),
    ],
)
def test_arguments_become_flags(message, expected, script_flags, monkeypatch):
    monkeypatch.setattr(common, "_flag_names", {"window_s": "window"})
    assert common.as_flags(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`batch_size`: expected", "--config.batch_size: expected"),
        ("`batch_size=8` fits", "--config.batch_size=8 fits"),
        ("`synthetic.seed`: expected", "--config.synthetic.seed: expected"),
        ("`synthetic.other`", "`synthetic.other`"),
        ("`batch_size.other`", "`batch_size.other`"),
        # A flag of the script goes before a key of the config.
        ("`source` and `overwrite`", "--source and --overwrite"),
    ],
)
def test_arguments_become_keys_of_the_config(message, expected, config_of_script):
    assert common.as_flags(message) == expected


def test_lines_and_errors_are_spelled(script_flags, capsys):
    common.say("kept; `overwrite` makes it again")
    with pytest.raises(SystemExit) as stopped:
        common._stop("error: `overwrite`\n  replaces it", common.BAD_INPUT)
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == "kept; --overwrite makes it again\n"
    assert captured.err == "error: --overwrite replaces it\n"


def parse(values, *given):
    values.unparse_flags()
    values(["script", *given])
    return values


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", (3,)), ("1,3", (1, 3)), ("1-3, 7", (1, 2, 3, 7)), ("", ())],
)
def test_subjects(text, expected, script_flags):
    common.define_subjects("")
    assert parse(script_flags, f"--subjects={text}").subjects == expected


def test_one_subject(script_flags):
    common.define_subject("")
    assert parse(script_flags).subjects is None
    assert parse(script_flags, "--subjects=3").subjects == 3
    assert parse(script_flags, "--subjects=AB12").subjects == "AB12"
    for text in ("1,3", "1-2", "A,B", "0-1"):
        message = f"subjects={text}: expected one subject, such as 3 or AB12"
        with pytest.raises(flags.IllegalFlagValueError, match=message):
            parse(script_flags, f"--subjects={text}")


def test_what_may_be_a_list_is_given_once(script_flags):
    common.define_subjects("")
    with pytest.raises(flags.IllegalFlagValueError, match="already defined"):
        parse(script_flags, "--subjects=1", "--subjects=2")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a"], ["a"]),
        (["a", "b,c", "a"], ["a", "b,c", "a"]),
        (["a,b", "~/a", "~/a,~/b"], ["a", "b", "HOME/a", "HOME/a", "HOME/b"]),
        (["a,,b,"], ["a", "b"]),
        (["a,none"], ["a", "none"]),
        (["none,neither"], ["none,neither"]),
        ([""], []),
    ],
)
def test_paths(given, expected, script_flags, tmp_path, monkeypatch):
    """A list is split; a path that exists is not, whatever commas it holds."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c", "b,c"):
        (tmp_path / name).mkdir()
    define_flag = functools.partial(flags.DEFINE_flag, flag_values=script_flags)
    monkeypatch.setattr(flags, "DEFINE_flag", define_flag)
    common.define_paths("images", "")
    parsed = parse(script_flags, *(f"--images={text}" for text in given)).images
    assert parsed == [path.replace("HOME", str(tmp_path)) for path in expected]


@pytest.mark.parametrize("text", ["o/ne", "a-b", "3-1", "1,,2", "1-", "-1"])
def test_wrong_subjects(text, script_flags):
    common.define_subjects("")
    message = f"subjects={text}: expected the form 3, 1,3, 1-10 or labels"
    with pytest.raises(flags.IllegalFlagValueError, match=message):
        parse(script_flags, f"--subjects={text}")


def test_ranges(script_flags):
    common.define("range_s", "0,1", "FIRST,LAST", common.read_range, "")
    for text, expected in {"-0.2, 0.8": (-0.2, 0.8), "0.1,0.1": (0.1, 0.1)}.items():
        assert parse(script_flags, f"--range_s={text}").range_s == expected
    for text in ("0.2,0.1", "0.1", "0.1,0.2,0.3", "a,b", "nan,1", "-inf,1", ""):
        message = f"range_s={text}: expected FIRST,LAST"
        with pytest.raises(flags.IllegalFlagValueError, match=message):
            parse(script_flags, f"--range_s={text}")


@pytest.mark.parametrize(
    ("has_saved", "line", "status"),
    [
        (True, "stopped at 3; the same command goes on from there", 75),
        (
            False,
            "stopped at 3: nothing is saved yet, and the same command starts anew",
            130,
        ),
    ],
)
def test_stop_promises_what_is_so(has_saved, line, status):
    program = f"""
from img2eeg_jax.errors import StoppedBySignal
from img2eeg_jax.scripts import common

def main():
    raise StoppedBySignal("stopped at 3", {has_saved})

common.run(main)
"""
    check_refused(run_program(program), f"^{line}$", status=status)


def test_names_that_the_terminal_cannot_show():
    """Latin-1 bytes of a file name, and an arrow where the encoding is ASCII."""
    program = """
from img2eeg_jax.scripts import common
common.run(lambda: common.say("caf\\udce9.png → x"))
"""
    result = run_program(program, PYTHONIOENCODING="ascii")
    assert (result.stdout, result.stderr) == ("caf\\udce9.png \\u2192 x\n", "")
    assert result.returncode == 0


INTERRUPTED_IN = {
    # Where Python drops exceptions, twice in a row.
    "destructor": """
class Fragile:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

    """,
    # Where a folder is there, and its name not known yet.
    "making": """
mkdir = os.mkdir

def interrupted(path, *args, **kwargs):
    mkdir(path, *args, **kwargs)
    if "incomplete" in str(path):
        signal.raise_signal(signal.SIGINT)

os.mkdir = interrupted
Fragile = object
""",
    # While it is removed.
    "removal": """
rmtree = shutil.rmtree

def interrupted(path, calls=[], **kwargs):
    calls.append(path)
    if len(calls) == 1:
        signal.raise_signal(signal.SIGINT)
    rmtree(path, **kwargs)

shutil.rmtree = interrupted
time.sleep = lambda _: sys.exit("not interrupted")
Fragile = object
""",
}


@pytest.mark.parametrize("where", INTERRUPTED_IN)
def test_interruption_leaves_no_scratch_folder(where, tmp_path):
    program = f"""
import os, shutil, signal, sys, time
from img2eeg_jax.files import scratch_dir
from img2eeg_jax.scripts import common
{INTERRUPTED_IN[where]}
def main():
    with scratch_dir("data", "x") as folder:
        Fragile(), Fragile()
        while True:
            time.sleep(60)

common.run(main)
"""
    result = run_program(program, cwd=tmp_path, timeout_s=60)
    check_refused(result, "^interrupted$", status=130)
    assert list(tmp_path.iterdir()) == []
