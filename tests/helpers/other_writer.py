"""Another that writes to a folder, and is done as soon as it is waited for."""

import contextlib

from img2eeg_jax.locks import only_writer


@contextlib.contextmanager
def other_writer(folder, part="", work=lambda: None):
    """Has a folder until a line says that it is waited for; then does `work`.

    Yields:
      (log to pass on, the lines that it was called with).
    """
    lines = []
    with contextlib.ExitStack() as held:
        held.enter_context(only_writer(folder, part))

        def log(line):
            lines.append(line)
            if line.startswith("waiting for"):
                work()
                held.close()

        yield log, lines
