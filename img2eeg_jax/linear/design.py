"""Features as a design matrix: standardised, and read in blocks of rows."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear.products import block_rows

# Statistics are of blocks that stay in the processor's cache.
_SHARE = 32

Features = np.ndarray | Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """Standardised features of images, which need not fit in memory.

    Attributes:
      parts: layer → f[image, feature], arrays or memory maps; side by side they are
        the columns.
      mean: f32[feature], what is subtracted.
      scale: f32[feature], what is divided by then; 1 of constant features.
    """

    parts: Mapping[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: Features, standardise: bool = True) -> "Design":
        """Measures mean and standard deviation (ddof 0), in float64.

        Args:
          features: f[image, feature], or several layers by their names.
          standardise: whether to divide by the standard deviation; the mean is
            subtracted in any case.

        Raises:
          InputError: layers have different numbers of rows, or a feature is not finite.
        """
        parts = as_parts(features)
        means, scales = [], []
        for name, part in parts.items():
            mean, sd = _statistics(name, part)
            means.append(mean)
            scales.append(sd if standardise else np.ones_like(sd))
        return cls(
            parts, *(np.concatenate(a, dtype=np.float32) for a in (means, scales))
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(images, features)."""
        return len(next(iter(self.parts.values()))), len(self.mean)

    def block(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns f32[row, feature], standardised."""
        read = [np.asarray(part[rows], np.float32) for part in self.parts.values()]
        block = np.concatenate(read, axis=1)
        block -= self.mean
        block /= self.scale
        return block

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields (rows, f32[row, feature]) of all images, in order."""
        for rows in slices(*self.shape):
            yield rows, self.block(rows)

    def column_blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields (columns, f32[image, column]) of all features, in order."""
        first = 0
        for part in self.parts.values():
            for of_part in slices(part.shape[1], len(part)):
                columns = slice(first + of_part.start, first + of_part.stop)
                block = np.asarray(part[:, of_part], np.float32) - self.mean[columns]
                block /= self.scale[columns]
                yield columns, block
            first += part.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix:
    """A design matrix in memory: f32[image, column] that is standardised already."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(images, columns)."""
        return self.array.shape

    def block(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns f32[row, column]."""
        return self.array[rows]

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields (rows, f32[row, column]) of all images, in order."""
        for rows in slices(*self.shape):
            yield rows, self.array[rows]


Rows = Design | Matrix


def slices(n_rows: int, n_columns: int, share: int = 1) -> Iterator[slice]:
    """Yields blocks of rows, in order, of a share of the usual size."""
    size = max(1, block_rows(n_columns) // share)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def as_parts(features: Features) -> dict[str, np.ndarray]:
    """Returns layers by their names; one array is the layer "features".

    Raises:
      InputError: a layer is no matrix, or layers have different numbers of rows.
    """
    parts = dict(features) if isinstance(features, Mapping) else {"features": features}
    if not parts:
        raise unexpected("features", "at least one layer", "none")
    n_rows = None
    for name, part in parts.items():
        if np.ndim(part) != 2 or 0 in np.shape(part):
            raise unexpected(name, "images × features", f"shape {np.shape(part)}")
        n_rows = len(part) if n_rows is None else n_rows
        if len(part) != n_rows:
            raise unexpected(
                name, f"{n_rows} rows, as other layers have", f"{len(part)} rows"
            )
    return parts


def widths(features: Features) -> dict[str, int]:
    """Returns how many features each layer has."""
    return {name: part.shape[1] for name, part in as_parts(features).items()}


def _statistics(name: str, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns f64[feature], means and standard deviations; 1 of constant features."""
    n_rows, n_columns = part.shape
    total = np.zeros(n_columns)
    low, high = np.full(n_columns, np.inf), np.full(n_columns, -np.inf)
    for rows in slices(n_rows, n_columns, _SHARE):
        block = np.asarray(part[rows])
        of_rows = block.sum(1, dtype=np.float64)
        if not np.isfinite(of_rows).all():
            row = rows.start + int(np.flatnonzero(~np.isfinite(of_rows))[0])
            raise unexpected(name, "finite features", f"others in row {row}")
        total += block.sum(0, dtype=np.float64)
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    mean, squares = total / n_rows, np.zeros(n_columns)
    for rows in slices(n_rows, n_columns, _SHARE):
        squares += np.square(part[rows] - mean).sum(0)
    sd = np.sqrt(squares / n_rows)
    # A feature that varies by the last bit of its numbers is constant, too.
    least = np.abs(mean) * np.finfo(np.float32).eps
    is_constant = (low == high) | (sd <= least)
    return mean, np.where(is_constant, 1.0, sd)
