"""Networks on disk: what describes them, how they are saved and loaded."""
