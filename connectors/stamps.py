"""Time stamps of an export to UTC: ISO, a given format, plain numbers, and local time through the clock changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.clock_change import second_pass
from connectors.options import Ambiguous, TimeOptions
from connectors.stamp_formats import Written, format_question, said, written_of
from connectors.stamp_text import by_format, numeric_zone, parsed_by, stripped
from procmodel.errors import HistorianError, PlantFileError

UTC_TIME = pl.Datetime("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "min": 60e6, "h": 3600e6, "d": 86400e6}
_AGE = (-2_208_988_800_000_000, 7_258_118_400_000_000)  # 1900 to 2200 [us]; what lies beyond was never recorded
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONE = r"[T ]\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"


class Mark(IntEnum):
    """What a stamp met on its way to UTC."""

    PLAIN = 0
    AMBIGUOUS = 1  # in the repeated hour; a pass was chosen
    MISSING = 2  # local time that does not exist in the zone
    EMPTY = 3  # no stamp at all


@dataclass(frozen=True, kw_only=True)
class Stamping:
    """How one source's stamps are read.

    Attributes:
        options: As in the plant file.
        timezone: Zone of stamps that carry none.
        ambiguous: What to do in the repeated hour.
        decimal: Decimal sign of plain numbers.
        from_first: Plain numbers count from the file's first stamp (placed at the epoch) instead of from the origin.
        place: The source, for messages.
    """

    options: TimeOptions
    timezone: str | None
    ambiguous: Ambiguous
    decimal: str
    from_first: bool
    place: str

    def utc(self, column: pl.Series, stream: pl.Series | None = None, bias: pl.Series | None = None) -> pl.DataFrame:
        """Columns `time` (UTC, null where there is none) and `mark` (`Mark`) beside `column`.

        Args:
            stream: Tag of each row of a long table; None: all rows are one stream.
            bias: Distance of each local stamp from UTC, as `options.bias` says; then no zone is needed.

        Raises:
            HistorianError: a stamp cannot be read, carries no zone where none is known, or is ambiguous and not to be.
        """
        if column.dtype == pl.String:
            column = stripped(column)
        empty = column.is_null()
        if empty.all():
            time, mark = pl.Series(values=[None] * len(column), dtype=UTC_TIME), None
        elif self.options.unit is not None:
            time, mark = self._counted(column), None
        elif column.dtype == pl.String:
            time, mark = self._written(column, stream, bias)
        elif column.dtype.is_numeric():
            raise HistorianError(self._plain_numbers(column))
        else:
            time, mark = self._typed(column, stream, bias)
        count = time.cast(pl.Int64)
        _refuse(
            count.cast(pl.String),
            unread=((count < _AGE[0]) | (count >= _AGE[1])).fill_null(False),
            say=lambda _, row: f"{self.place}: {_beyond(column[row - 1], row)}",
        )
        marks = mark if mark is not None else pl.Series(np.zeros(len(column), dtype=np.uint8))
        marks = pl.select(pl.when(empty).then(pl.lit(int(Mark.EMPTY), pl.UInt8)).otherwise(marks)).to_series()
        return pl.DataFrame({"time": time, "mark": marks})

    def _counted(self, column: pl.Series) -> pl.Series:
        text = column.dtype == pl.String and self.decimal == ","
        numbers = (column.str.replace(",", ".", literal=True) if text else column).cast(pl.Float64, strict=False)
        _refuse(
            column,
            unread=column.is_not_null() & ~numbers.is_finite().fill_null(False),
            say=lambda cell, row: (
                f"{self.place}: time cell {cell!r} (sample {row}) is no number, but "
                "history.options.time.unit says that stamps are. Remove the unit, or mend the cell."
            ),
        )
        count = _MICROSECONDS[self.options.unit or "s"]
        if self.from_first:
            first = numbers.drop_nulls()[0]
            numbers, origin = numbers - first, EPOCH
        else:
            origin = origin_of(self.options, self.timezone)
        start = round((origin - EPOCH).total_seconds() * 1e6)
        moved = numbers * count + start
        _refuse(
            column,
            unread=((moved < _AGE[0]) | (moved >= _AGE[1])).fill_null(False),
            say=lambda cell, row: f"{self.place}: {_beyond(cell, row)}",
        )
        return ((numbers * count).round(0).cast(pl.Int64) + start).cast(UTC_TIME)

    def _typed(
        self, column: pl.Series, stream: pl.Series | None, bias: pl.Series | None
    ) -> tuple[pl.Series, pl.Series | None]:
        if column.dtype == pl.Date:
            column = column.cast(pl.Datetime("us"))
        if not isinstance(column.dtype, pl.Datetime):
            raise HistorianError(f"{self.place}: the time column holds {column.dtype}, needs time stamps.")
        if column.dtype.time_zone is not None:
            return column.dt.convert_time_zone("UTC").cast(UTC_TIME), None
        return self._local(column.cast(pl.Datetime("us")), stream, bias)

    def _written(
        self, column: pl.Series, stream: pl.Series | None, bias: pl.Series | None
    ) -> tuple[pl.Series, pl.Series | None]:
        if self.options.format is not None:
            formats = self.options.format
            return self._formatted(column, [formats] if isinstance(formats, str) else formats, stream, bias)
        text = column.str.replace("T", " ", literal=True).str.replace(",", ".", literal=True)
        zoned = column.str.contains(_ZONE)  # null where the cell is empty
        local, absolute = parsed_by(text.set(zoned, None), _ISO), _no_times(len(text))
        if zoned.any():
            with_zone = [f"{each}%z" for each in _ISO[:2]]
            absolute = parsed_by(numeric_zone(text.set(~zoned, None)), with_zone).cast(UTC_TIME)
        unread = column.is_not_null() & local.is_null() & absolute.is_null()
        if unread.any():
            written = written_of(column)
            if written.formats and not written.undecided:
                return self._formatted(column, written.formats, stream, bias)
            _refuse(column, unread=unread, say=lambda cell, row: self._unreadable(column, written, cell, row))
        if local.null_count() == len(local):
            return absolute, None
        there, mark = self._local(local, stream, bias)
        return there.zip_with(there.is_not_null(), absolute), mark

    def _formatted(
        self, column: pl.Series, written: Sequence[str], stream: pl.Series | None, bias: pl.Series | None
    ) -> tuple[pl.Series, pl.Series | None]:
        local, absolute = pl.Series([None] * len(column), dtype=pl.Datetime("us")), _no_times(len(column))
        for each in written:
            left = column.set(local.is_not_null() | absolute.is_not_null(), None)
            if left.null_count() == len(left):
                break
            parsed = by_format(left, each)
            if "%z" in each:
                absolute = absolute.zip_with(absolute.is_not_null(), parsed.cast(UTC_TIME))
            else:
                local = local.zip_with(local.is_not_null(), parsed)
        _refuse(
            column,
            unread=column.is_not_null() & local.is_null() & absolute.is_null(),
            say=lambda cell, row: (
                f"{self.place}: time cell {cell!r} (sample {row}) does not fit "
                f"history.options.time.format {said(written)}. Correct the format, or mend the cell."
            ),
        )
        if local.null_count() == len(local):
            return absolute, None
        there, mark = self._local(local, stream, bias)
        return there.zip_with(there.is_not_null(), absolute), mark

    def _biased(self, local: pl.Series, bias: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Local stamps whose distance from UTC stands beside them."""
        minutes = bias.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
        # Offsets of the world's zones are quarters of an hour within 14 h; hours or seconds would pass for no such.
        sound = (minutes.abs() <= 840) & (minutes % 15 == 0)
        _refuse(
            bias.cast(pl.String),
            unread=local.is_not_null() & ~sound.fill_null(False),
            say=lambda cell, row: (
                f"{self.place}: time bias {cell!r} (sample {row}) is no distance from UTC in minutes. Mend the cell, "
                "or remove history.options.time.bias and set history.timezone."
            ),
        )
        away = (minutes * 60e6).cast(pl.Int64).cast(pl.Duration("us"))
        forward = self.options.bias is not None and self.options.bias.means == "utc - local"
        moved = (local + away if forward else local - away).dt.replace_time_zone("UTC").cast(UTC_TIME)
        return moved, pl.Series(np.zeros(len(local), dtype=np.uint8))

    def _local(self, local: pl.Series, stream: pl.Series | None, bias: pl.Series | None) -> tuple[pl.Series, pl.Series]:
        if bias is not None:
            return self._biased(local, bias)
        if self.timezone is None:
            first = local.drop_nulls()[0]
            raise HistorianError(
                f"{self.place}: time stamps such as {first.isoformat(sep=' ')} carry no time zone. "
                "Set history.timezone in the plant file to the zone they were written in, such as Europe/Zurich or UTC."
            )
        try:
            early, late = (
                local.dt.replace_time_zone(self.timezone, ambiguous=which, non_existent="null").dt.convert_time_zone(
                    "UTC"
                )
                for which in ("earliest", "latest")
            )
        except pl.exceptions.PolarsError as error:
            raise PlantFileError(
                f"history.timezone {self.timezone!r} cannot be used: {error}. Write UTC, say."
            ) from error
        twice = (early != late).fill_null(False)
        mark = pl.select(
            pl.when(twice)
            .then(pl.lit(int(Mark.AMBIGUOUS)))
            .when(local.is_not_null() & early.is_null())
            .then(pl.lit(int(Mark.MISSING)))
            .otherwise(pl.lit(int(Mark.PLAIN)))
            .cast(pl.UInt8)
        ).to_series()
        if not twice.any() or self.ambiguous == "first":
            return early, mark
        if self.ambiguous == "second":
            return late, mark
        if self.ambiguous == "raise":
            raise HistorianError(
                f"{self.place}: {local.filter(twice)[0].isoformat(sep=' ')} happens twice in {self.timezone} "
                f"({twice.sum()} such stamps). Set history.options.ambiguous to infer, first or second."
            )
        second = pl.Series(second_pass(local, twice, stream))
        return late.zip_with(second, early), mark

    def _plain_numbers(self, column: pl.Series) -> str:
        return (
            f"{self.place}: time stamps are plain numbers such as {column.drop_nulls()[0]}. Say what they count: "
            "history.options.time: {unit: s, origin: 2024-01-01T00:00:00Z}."
        )

    def _unreadable(self, column: pl.Series, written: Written, cell: str, row: int) -> str:
        if column.cast(pl.Float64, strict=False).is_finite().fill_null(False).any():
            return self._plain_numbers(column)
        if written.unread is not None:
            cell, row = written.unread, int((column == written.unread).arg_max() or 0) + 1
        return f"{self.place}: time cell {cell!r} (sample {row}) is not ISO 8601. {format_question(written)}"


def _beyond(cell: object, row: int) -> str:
    return (
        f"time cell {str(cell)!r} (sample {row}) lies beyond the years 1900 to 2200. Correct history.options.time, "
        "or mend the cell."
    )


def origin_of(options: TimeOptions, timezone: str | None) -> datetime:
    """The moment that plain numbers count from.

    Raises:
        PlantFileError: it is missing, no ISO stamp, or without a zone where the plant file names none.
    """
    key = "history.options.time.origin"
    if options.origin is None:
        raise PlantFileError(
            f"{key} is missing: plain numbers count from it. For Unix time write 1970-01-01T00:00:00Z."
        )
    try:
        origin = datetime.fromisoformat(options.origin)
    except ValueError as error:
        raise PlantFileError(
            f"{key}: got {options.origin!r}, needs an ISO stamp such as 2024-01-01T00:00:00Z."
        ) from error
    if origin.tzinfo is None:
        if timezone is None:
            raise PlantFileError(
                f"{key}: {options.origin!r} has no time zone. Write it as {options.origin}Z, for example."
            )
        origin = origin.replace(tzinfo=ZoneInfo(timezone))
    return origin.astimezone(UTC)


def _no_times(count: int) -> pl.Series:
    return pl.Series([None] * count, dtype=UTC_TIME)


def _refuse(column: pl.Series, *, unread: pl.Series, say: Callable[[str, int], str]) -> None:
    """Raise about the first cell that could not be read."""
    if unread.any():
        row = int(unread.arg_max() or 0)
        raise HistorianError(say(column[row], row + 1))
