"""Which epoch is best, and whether a better one may still come."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Selection:
    """How the best epoch is found, and when there will be no better one.

    Attributes:
      name: of the images that select, "validation" or "test".
      first_epoch: epochs before it cannot be the best.
      patience: epochs without a better one after which a run stops; 0 for never.
    """

    name: str
    first_epoch: int = 0
    patience: int = 0

    @property
    def column(self) -> str:
        """Returns the column of metrics.csv that is to be small."""
        return f"{self.name}_total"

    def loss(self, row: dict[str, float]) -> float | None:
        """Returns the loss of an epoch, or None if it cannot be the best."""
        if row["epoch"] < self.first_epoch:
            return None
        return row.get(self.column)

    def best_row(self, history: list[dict[str, float]]) -> dict[str, float] | None:
        """Returns the best epoch's row, or None if there is no such."""
        rows = [(self.loss(row), row) for row in history]
        known = [(loss, row) for loss, row in rows if loss is not None]
        return min(known, key=lambda one: one[0])[1] if known else None

    def is_over(self, history: list[dict[str, float]]) -> bool:
        """Tells whether the last `patience` epochs were no better than one before."""
        if not self.patience:
            return False
        best = self.best_row(history)
        if best is None:
            return False
        return history[-1]["epoch"] - best["epoch"] >= self.patience
