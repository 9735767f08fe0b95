"""A hub on this machine, as the hub's library sees it."""

import contextlib
import pathlib

from huggingface_hub import constants, hf_api

from helpers import web


@contextlib.contextmanager
def local_hub(monkeypatch, cache):
    """Runs a server that the library takes for the hub, with a cache of its own."""
    with web.serving() as server:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template
        )
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield server


def files_of(folder):
    """Returns {path in a folder: bytes}, as a repository has them."""
    folder = pathlib.Path(folder)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
