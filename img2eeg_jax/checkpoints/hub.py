"""Networks on the Hugging Face hub, as `pretrained` writes them."""

import pathlib
import posixpath
from collections.abc import Sequence

from img2eeg_jax.checkpoints import pretrained
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import hub
from img2eeg_jax.errors import unexpected

_NETWORK = "a network"


def fetch(
    address: str,
    revision: str | None = None,
    subjects: Sequence[int | str] | None = None,
) -> pathlib.Path:
    """Fetches a network, or several subjects' networks, into the hub's cache.

    What was fetched once is there without a network connection, too, by the same
    address (with the folder of the subject, where there are several).

    Args:
      address: ``hf://OWNER/NAME[@REVISION][/FOLDER]``, of a network or of folders
        ``sub-01``, … with one each.
      revision: branch, tag or commit; None for that of the address, or the main branch.
      subjects: of several folders, whose; None for all.

    Returns:
      The local folder.

    Raises:
      InputError: there is no such network, or the hub cannot be reached.
    """
    place = hub.Address.parse(address, revision or "")
    with hub.expecting_from_hub(address, _NETWORK):
        document = posixpath.join(place.path, pretrained.DESCRIPTION)
        try:
            path, commit = hub.download(place.repo, document, place.revision)
        except hub.MissingFileError:
            return _fetch_subjects(address, place, subjects)
        _fetch_others(place.repo, path, place.path, commit)
        return path.parent


def _fetch_subjects(
    address: str, place: hub.Address, subjects: Sequence[int | str] | None
) -> pathlib.Path:
    """Fetches the networks in folders of subjects; see `fetch`."""
    files = place.files()
    found = {}
    for file in files:
        folder, name = posixpath.split(file)
        parent, label = posixpath.split(folder)
        if name == pretrained.DESCRIPTION and parent == place.path:
            found[layout.as_label(label.removeprefix("sub-"))] = folder
    found.pop(None, None)
    known = ", ".join(map(str, found))
    if not found:
        listed = ", ".join(files[:10]) or "none"
        expected = f"{pretrained.DESCRIPTION} of a network, or sub-01/ with one"
        raise unexpected(address, expected, listed)
    for subject in found if subjects is None else subjects:
        if subject not in found:
            raise unexpected(address, f"subjects out of {known}", subject)
        document = posixpath.join(found[subject], pretrained.DESCRIPTION)
        path, commit = hub.download(place.repo, document, place.revision)
        _fetch_others(place.repo, path, found[subject], commit)
    return path.parent.parent


def _fetch_others(repo: str, path: pathlib.Path, folder: str, commit: str) -> None:
    """Fetches the files that a description names, of the same commit."""
    for name in pretrained.read_document(path)["files"]:
        hub.download(repo, posixpath.join(folder, name), commit)
