"""Where computations run: several devices, several processes."""
