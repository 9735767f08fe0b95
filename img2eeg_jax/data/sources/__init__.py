"""Where recordings and pictures come from."""
