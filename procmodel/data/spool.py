"""Rows of the grid that are full but not yet settled, on disk: memory then follows neither samples nor rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from procmodel.data.kernels import GOOD, Grid, compiled, fill
from procmodel.data.rules import NO_BOUND
from procmodel.errors import DatasetError

_WINDOW = 4 << 20  # bytes of rows kept in memory before those that are full are put away: a core keeps them near
_STRIP = 32 << 20  # bytes of rows that are read back at once: a table of many columns is written faster in long pieces


class _Piece(NamedTuple):
    """Rows that were put away together, and their place in the file."""

    row0: int
    rows: int
    place: int


class Spool:
    """A file of rows of all tags, put away a few at a time and read back in strips of many.

    Args:
        folder: Where the file lies; it has no name and is gone with this object.
        columns, aged: Tags, and those of them whose age is told.
    """

    def __init__(self, folder: Path, columns: int, aged: int) -> None:
        self._columns, self._aged = columns, aged
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._strips: list[list[_Piece]] = []
        self._bytes = 24 * columns + 4 * aged  # of a row
        self.window = max(64, _WINDOW // self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._strips)

    def put(self, grid: Grid, rows: int) -> None:
        """The first rows of a grid; they follow those put away before."""
        if not self._strips or sum(piece.rows for piece in self._strips[-1]) * self._bytes >= _STRIP:
            self._strips.append([])
        self._strips[-1].append(_Piece(grid.row0, rows, self._file.tell()))
        for part in grid[:4]:
            if part.shape[1]:
                self._file.write(np.ascontiguousarray(part[:rows]).data.cast("B"))

    def get(self, i: int, step: int) -> Grid:
        """Strip i as a grid of its own."""
        row0, rows = self._strips[i][0].row0, sum(piece.rows for piece in self._strips[i])
        grid = Grid(
            held_TC=np.empty((rows, self._columns)),
            area_TC=np.empty((rows, self._columns)),
            good_TC=np.empty((rows, self._columns), dtype=np.int64),
            age_TA=np.empty((rows, self._aged), dtype=np.float32),
            lo=row0 * step,
            hi=(row0 + rows) * step,
            step=step,
            row0=row0,
        )
        for piece in self._strips[i]:
            self._file.seek(piece.place)
            for part in grid[:4]:
                into = part[piece.row0 - row0 :][: piece.rows]
                if into.size and self._file.readinto(into.data.cast("B")) != into.nbytes:
                    raise DatasetError("A temporary file of the grid came back shorter than it was written. Try again.")
        return grid


@compiled
def hold_until(rules_C: np.ndarray, tags_C: np.ndarray, until: int, grid: Grid) -> None:
    """Fill what holds without bound up to a row's border; its next sample fills the rest."""
    for c in range(tags_C.shape[0]):
        rule, tag = rules_C[c], tags_C[c]
        if tag.now == GOOD and rule.holds and rule.max_gap == NO_BOUND and tag.time < until:
            value = tag.rate if rule.gain > 0.0 else tag.value
            if not np.isnan(value):
                fill(rule, c, tag.time, value, until, value, grid)


def full_before(rules_C: np.ndarray, tags_C: np.ndarray, watermark: int, step: int) -> int:
    """The first row that a sample at `watermark` or later can still change, but for what is postponed."""
    since_C = tags_C["time"]
    open_C = (tags_C["now"] == GOOD) & (watermark - since_C <= rules_C["max_gap"])
    open_C &= ~(rules_C["holds"] & (rules_C["max_gap"] == NO_BOUND))
    first = min(watermark, int(since_C[open_C].min())) if open_C.any() else watermark
    return first // step
