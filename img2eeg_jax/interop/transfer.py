"""Between files of PyTorch weights and checkpoint folders."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from img2eeg_jax.checkpoints import store
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.errors import naming, unexpected
from img2eeg_jax.files import check_new, check_room, replace_folder, scratch_dir
from img2eeg_jax.interop import convert, names, sources, torch_files
from img2eeg_jax.locks import only_writer


def import_weights(
    given: str,
    output: str | os.PathLike | None,
    *,
    subject: int | str | None = None,
    sha256: str = "",
    revision: str = "",
    part: str = "",
    ch_names: Sequence[str] = (),
    times_s: Sequence[float] = (),
    is_published: bool = False,
    image_size: int | None = None,
    overwrite: bool = False,
) -> str:
    """Converts a file of PyTorch weights to a checkpoint folder.

    Args:
      given: where the file is; see `sources.find`.
      output: the folder, written as a whole or not at all; None to write nothing.
      subject: see `sources.find`.
      sha256: see `sources.find`.
      revision: see `sources.find`.
      part: see `torch_files.read`.
      ch_names: see `convert.recognise`.
      times_s: see `convert.recognise`.
      is_published: see `convert.recognise`; what comes from a publisher's own address
        is, see `sources.Source.is_published`.
      image_size: see `convert.recognise`.
      overwrite: whether to replace what is at `output`.

    Returns:
      What was found, as lines of text.

    Raises:
      InputError: the file is missing, damaged or holds another network, or `output`
        exists or cannot be written.
    """
    if output is not None:
        output = pathlib.Path(output).resolve()
        store.check_folder(output)
        check_new(output, overwrite)
        _check_replaceable(output)
    source = sources.find(given, subject=subject, sha256=sha256, revision=revision)
    weights = torch_files.read(source.path, part)
    with naming(source.name):
        network = convert.recognise(
            weights.tensors,
            ch_names=ch_names,
            times_s=times_s,
            is_published=is_published or source.is_published,
            image_size=image_size,
        )
        variables, description = convert.from_state_dict(
            weights.tensors, network, weights.container
        )
    description = dataclasses.replace(
        description,
        subject=source.subject,
        initial_weights=source.name,
        source=source.to_dict() | ({"part": part} if part else {}),
    )
    if output is not None:
        with (
            only_writer(output.parent, output.name),
            scratch_dir(output.parent, output.name) as scratch,
        ):
            # Another process may have written it meanwhile.
            check_new(output, overwrite)
            check_room(scratch, sum(a.nbytes for a in jax.tree.leaves(variables)))
            store.write_weights(scratch / "new", variables, description)
            replace_folder(scratch / "new", output)
    return _summary(source, weights, description, output)


def export_weights(
    checkpoint_dir: str | os.PathLike,
    output: str | os.PathLike,
    *,
    which: str = "best",
    overwrite: bool = False,
) -> str:
    """Writes a checkpoint as the published PyTorch code loads it.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      output: `.pt`, `.pth` or `.safetensors`.
      which: "best" or "last" checkpoint.
      overwrite: whether to replace `output`.

    Returns:
      What was written, as a line of text.

    Raises:
      InputError: there is no such checkpoint, or `output` exists or cannot be written.
    """
    output = pathlib.Path(output)
    torch_files.check_name(output)
    check_new(output, overwrite)
    loaded = load_checkpoint(checkpoint_dir, which)
    tensors, container = convert.to_state_dict(
        loaded.variables, loaded.description, loaded.step
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    torch_files.write(output, tensors, container)
    return f"{len(tensors)} tensors of {loaded.path}, step {loaded.step}, in {output}"


def _check_replaceable(output: pathlib.Path) -> None:
    """Refuses to replace what is no converter's output."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    # A converter writes checkpoints/0 and nothing else.
    found = {path.relative_to(output).as_posix() for path in output.glob("*")}
    found |= {path.relative_to(output).as_posix() for path in output.glob("*/*")}
    others = sorted(found - {store.FOLDER, f"{store.FOLDER}/0"})
    if others or not output.is_dir():
        raise unexpected(
            output,
            "a converted checkpoint to replace",
            f"{', '.join(others) or 'a file'}; choose another folder",
        )
    if load_checkpoint(output).description.torch is None:
        raise unexpected(output, "a converted checkpoint to replace", "another")


def _summary(
    source: sources.Source,
    weights: torch_files.Weights,
    network: Description,
    output: pathlib.Path | None,
) -> str:
    tensors = weights.tensors
    counters = [name for name in tensors if name.endswith(names.COUNTER)]
    dtypes = collections.Counter(
        str(array.dtype) for name, array in tensors.items() if name not in counters
    )
    n_values = sum(a.size for name, a in tensors.items() if name not in counters)
    under = f", under {weights.container!r}" if weights.container else ""
    arguments = network.model
    rows: dict[str, Any] = {
        "kind": convert.label(network) + (" (training checkpoint)" if under else ""),
        "source": f"{source.name}, SHA-256 {source.sha256}",
        "revision": source.revision,
        "subject": source.subject,
        "signal": convert.describe_signal(network.signal) if network.signal else None,
        "network": f"width {arguments['width']}, {arguments['num_classes']} classes",
        "images": f"{network.image_size} × {network.image_size} pixels",
        "weights": f"{len(tensors) - len(counters)} tensors, {n_values:,} values, "
        f"{' and '.join(dtypes)}{under}; each used once",
        "kept": f"{len(counters)} × {names.COUNTER}" if counters else None,
        "ignored": ", ".join(weights.ignored),
        "written": output,
    }
    return "\n".join(f"{name:<10}{row}" for name, row in rows.items() if row)
