"""Fast tests on each supported Python of this machine; those that it lacks are skipped.

    .venv/bin/nox                    all of them
    .venv/bin/nox -s tests-3.13      one

Each Python gets an environment of its own, from requirements.lock: 3 GB.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

# What tells a Python from another: syntax, types, files, processes, the package.
FAST = ("tests/test_package.py", "tests/data/layout", "tests/checkpoints")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Runs fast tests; arguments after `--` are pytest's, instead of the usual ones."""
    session.install("-r", "requirements.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("pytest", "-q", "-m", "not slow", *(session.posargs or FAST))
