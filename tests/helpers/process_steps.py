"""One of several processes that take the steps of tests/devices/test_parallel.py.

python -m helpers.process_steps COORDINATOR N_PROCESSES PROCESS N_DEVICES FOLDER
writes FOLDER/PROCESS.npz: the leaves of (state after a step, its losses, state after
20).
"""

import os
import pathlib
import sys

N_REAL, N_ROWS = 12, 16


def main(address, n_processes, process, n_devices, folder):
    """Takes the steps."""
    # Before JAX starts.
    count = f"--xla_force_host_platform_device_count={n_devices}"
    os.environ |= {"XLA_FLAGS": count, "JAX_PLATFORMS": "cpu"}
    import jax
    import numpy as np

    from helpers import tiny_network
    from img2eeg_jax.devices import distributed

    jax.config.update("jax_disable_most_optimizations", True)
    distributed.start(address, int(n_processes), int(process))
    parallel, step = tiny_network.realnet_step_of_all_processes()

    def batch(seed):
        whole = tiny_network.draw_batch(N_REAL, 1, seed=seed)
        rows = np.minimum(np.arange(N_ROWS), N_REAL)
        part = np.split(rows, parallel.process_count)[parallel.process_index]
        return {name: array[part] for name, array in whole.items()}

    teacher = tiny_network.draw_variables(tiny_network.Toy(), seed=7)
    start = tiny_network.initial_state(tiny_network.realnet(), learning_rate=1.0)
    after_one, losses = tiny_network.run(parallel, step, start, teacher, [batch(0)])
    batches = [batch(seed) for seed in range(20)]
    smooth = tiny_network.smooth_state()
    end, _ = tiny_network.run(parallel, step, smooth, teacher, batches)
    leaves = jax.tree.leaves((after_one, losses, end))
    np.savez(pathlib.Path(folder) / f"{process}.npz", *leaves)
    distributed.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
