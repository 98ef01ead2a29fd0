"""Dataset: the record on a uniform grid, with what share of each cell was good."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A named run of grid rows, `[start, stop)`.

    Attributes:
        began: Time of row `start`, aware, UTC; None where the stretch follows on the dataset's own start.
    """

    name: str
    start: int
    stop: int
    began: datetime | None = None

    @property
    def rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Uniform grid of one plant. Row t covers `[start + t * step, start + (t + 1) * step)`.

    Where several campaigns lie apart, their rows follow each other without the empty time between them; then only
    the rows of the first stretch are counted from `start`, those of another from its `began`. Nothing may read across
    the border of a stretch.

    Attributes:
        columns: Tag names, in plant order.
        values: [T, C] float64, time-weighted average of the good part of each cell [unit]; NaN in a gap.
        good_fraction: [T, C] float32, share of the cell that was good [-].
        start: Of row 0, aware, UTC.
        step: Grid step [s].
        stretches: Campaigns in order of time; they never overlap. One, called "record", where the source names none.
        manifest: Plant fingerprint, sources with hashes, read report.
        aged: Tags whose age is told: laboratory values, which hold until the next one.
        ages: [T, A] float32, of those tags, how old the value is at the end of the row [s]; NaN in a gap.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    good_fraction: np.ndarray
    start: datetime
    step: float
    stretches: tuple[Stretch, ...]
    manifest: dict[str, Any] = field(default_factory=dict)
    aged: tuple[str, ...] = ()
    ages: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    @property
    def rows(self) -> int:
        return int(self.values.shape[0])

    def times(self) -> np.ndarray:
        """Start of each row, [T] datetime64[us], UTC."""
        step = np.timedelta64(round(self.step * 1e6), "us")
        times = _stamp(self.start) + np.arange(self.rows) * step
        for stretch in self.stretches:
            if stretch.began is not None:
                times[stretch.start : stretch.stop] = _stamp(stretch.began) + np.arange(stretch.rows) * step
        return np.asarray(times)

    def to_polars(self) -> polars.DataFrame:
        """One row per grid row: `time`, each tag's value (null in a gap), `<tag>|good`, and the `stretch`."""
        from procmodel.data.storage import to_polars

        return to_polars(self)

    def to_pandas(self) -> Any:
        """The same for pandas, with the time as index."""
        from procmodel.data.storage import to_pandas

        return to_pandas(self)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware moment, exact."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment(microseconds_utc: int) -> datetime:
    """The aware moment so many microseconds after 1970-01-01 UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds_utc))


def _stamp(at: datetime) -> np.datetime64:
    """An aware moment as datetime64[us], which carries no zone and means UTC here."""
    return np.datetime64(microseconds(at), "us")
