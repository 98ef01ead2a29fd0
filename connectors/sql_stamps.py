"""Moments as a database keeps them: bounds of a query on the way there, stamps in UTC on the way back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from connectors.options import TimeOptions
from connectors.sql_options import SqlTime
from connectors.stamps import EPOCH, UTC_TIME, Mark, Stamping
from procmodel.errors import HistorianError

_TICK = timedelta(microseconds=1)
_QUARTER = timedelta(minutes=15)  # clocks change at these
_TICKS = {"us": 1, "ms": 1_000, "s": 1_000_000}

Bound = datetime | int | float | str


@dataclass(frozen=True, kw_only=True)
class SqlClock:
    """How one column of stamps is asked about and read.

    Attributes:
        time: As in the plant file.
        dtype: Of the column, or of its first row where columns have no type.
        typed: Whether they have.
        timezone: Zone of stamps that carry none.
        ambiguous: What to do in the repeated hour.
        place: Table and column, for messages.
    """

    time: SqlTime
    dtype: pl.DataType
    typed: bool
    timezone: str | None
    ambiguous: str
    place: str

    def check(self) -> None:
        """Raise a `HistorianError` where the column does not hold what the options say."""
        if self.time.unit is not None:
            sound = self.dtype.is_numeric() or self.dtype == pl.Null
        elif self.time.format is not None:
            sound = self.dtype == pl.String or not self.typed
        else:
            sound = self.dtype.is_temporal()
        if not sound:
            raise HistorianError(
                f"{self.place} holds {self.dtype}. Say how its stamps are kept: history.options.time: {{unit: ms}} for "
                "numbers since 1970, {format: '%Y-%m-%d %H:%M:%S'} for text, nothing for real time stamps."
            )

    def bound(self, moment: datetime, *, wider: int) -> Bound:
        """What a stamp is compared with, for `>=` (`wider` is -1) or `<` (1).

        More rows may be found than lie in the range, since those are left out later; never fewer.
        """
        ticks = (moment - EPOCH) // _TICK
        if self.time.unit is not None:
            each = _TICKS[self.time.unit]
            # A double of a microsecond is not exact.
            return (ticks + wider) / each if self.dtype.is_float() or not self.typed else -(-ticks // each)
        if self.time.format is not None:
            return self._written(self._local(moment), self.time.format)
        return moment if getattr(self.dtype, "time_zone", None) is not None else self._local(moment)

    def utc(self, stamps: pl.Series) -> pl.DataFrame:
        """Columns `time` (UTC) and `mark`.

        Raises:
            HistorianError: the stamps are not what the options say.
        """
        if self.time.unit is not None:
            counted = stamps * _TICKS[self.time.unit]
            time = (counted.round(0) if counted.dtype.is_float() else counted).cast(pl.Int64).cast(UTC_TIME)
            return pl.DataFrame({"time": time, "mark": pl.Series([int(Mark.PLAIN)] * len(time), dtype=pl.UInt8)})
        written = self.time.format.replace("%3f", "%f") if self.time.format else None
        zone = "UTC" if written and written.endswith("Z") else self.timezone
        return Stamping(
            options=TimeOptions(format=written),
            timezone=zone,
            ambiguous="first" if self.ambiguous == "first" else "raise",
            decimal=".",
            from_first=False,
            place=self.place,
        ).utc(stamps)

    def _local(self, moment: datetime) -> datetime:
        """The wall clock that rows from this moment on show.

        Rows in the repeated hour count as its first pass; so none is of the second, and the next show its end.
        """
        if self.time.format is not None and self.time.format.endswith("Z"):
            return moment.astimezone(UTC).replace(tzinfo=None)
        if self.timezone is None:
            raise HistorianError(
                f"{self.place}: time stamps carry no zone. Set history.timezone in the plant file to the zone they "
                "were written in, such as Europe/Zurich or UTC."
            )
        local = moment.astimezone(ZoneInfo(self.timezone))
        if local.fold:
            moment = EPOCH - (EPOCH - moment) // _QUARTER * _QUARTER  # upward
            while (local := moment.astimezone(ZoneInfo(self.timezone))).fold:
                moment += _QUARTER
        return local.replace(tzinfo=None, fold=0)

    def _written(self, local: datetime, written: str) -> str:
        """As text, upward to what the text can tell."""
        step = _TICK if ".%f" in written else timedelta(milliseconds=1) if "%3f" in written else timedelta(seconds=1)
        zero = datetime(1970, 1, 1)
        local = zero - (zero - local) // step * step
        return local.strftime(written.replace("%3f", f"{local.microsecond // 1000:03d}"))
