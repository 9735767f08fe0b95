"""What the Makefile says before it does what takes long."""

import os
import re
import subprocess

from helpers.sources import ROOT


# "make test" tells the makes within it by MAKEFLAGS and MAKELEVEL to print more.
def test_make_demo_says_first_what_it_installs_and_how_long_it_takes(tmp_path):
    command = ["make", "--dry-run", "demo", f"VENV={tmp_path}/venv"]
    outside_make = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=outside_make,
        capture_output=True,
        text=True,
        check=True,
    )
    steps = result.stdout.splitlines()
    installing = next(i for i, step in enumerate(steps) if "pip install" in step)
    training = next(i for i, step in enumerate(steps) if "train.py" in step)
    assert re.search("echo .*requirements.lock.*minutes", steps[0])
    said = [i for i, step in enumerate(steps) if re.search("echo .*minutes", step)]
    assert said[0] < installing < said[1] < training
