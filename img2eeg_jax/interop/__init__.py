"""PyTorch checkpoints in and out.

    from img2eeg_jax.interop import convert

    network = convert.recognise(state_dict)
    variables, description = convert.from_state_dict(state_dict, network)
    state_dict, _ = convert.to_state_dict(variables, description)

State dicts are dicts of NumPy arrays under PyTorch's names; `names` is the map between
the two and `convert` the checks around it. `torch_files` reads and writes files,
`sources` finds them, and `transfer` does what the command does.
"""
