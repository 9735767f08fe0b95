"""How Orbax writes NumPy arrays, in whichever process saves.

Orbax's own handler (0.12) leaves writing to the first of several processes, whatever
`MultiprocessingOptions` say: where each process trains subjects of its own, the others'
checkpoints would have no arrays.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class NumpyHandler(ocp.type_handlers.NumpyHandler):
    """Orbax's handler of NumPy arrays, but that each process writes its own."""

    async def _background_serialize(
        self,
        values: Sequence[np.ndarray],
        infos: Sequence[Any],
        args: Sequence[Any] | None = None,
    ) -> None:
        args = args or [None] * len(values)
        for info in infos:
            await info.await_path_creation()
        writes = [
            self._open_and_write(value, _place(value, info, arg), info.ts_context)
            for value, info, arg in zip(values, infos, args, strict=True)
        ]
        # All have ended before the event loop does, on a full disk, too: TensorStore
        # would print an error for each callback that comes later.
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


def _place(value: np.ndarray, info: Any, arg: Any) -> dict[str, Any]:
    """Returns what tells TensorStore where and how to write an array."""
    return ocp.type_handlers.get_json_tspec_write(
        info,
        use_ocdbt=info.is_ocdbt_checkpoint,
        global_shape=value.shape,
        local_shape=value.shape,
        dtype=value.dtype,
        process_index=jax.process_index(),
        arg=arg,
    )


def register() -> None:
    """Lets Orbax use it."""
    ocp.type_handlers.register_type_handler(np.ndarray, NumpyHandler(), override=True)
