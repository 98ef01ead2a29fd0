"""Tables of either shape to samples: long (a row per sample) and wide (a column per tag).

A samples frame has the columns `time`, `value`, `status`, `quality` and `state` of `procmodel.data.samples.SCHEMA`,
`mark` (`Mark` of its stamp) and `back` (its stamp lies before that of the row above, of the same tag).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from connectors.cells import numbers, qualities
from connectors.options import TableOptions
from connectors.stamps import UTC_TIME, Stamping
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError

SAMPLES = {
    "time": UTC_TIME,
    "value": pl.Float64(),
    "status": pl.Int64(),
    "quality": pl.Int8(),
    "state": pl.String(),
    "mark": pl.UInt8(),
    "back": pl.Boolean(),
}
EMPTY = "(empty)"  # state of a row that holds no value

_USUAL = {
    "tag": ("tag", "tagname", "tag name", "tag_name", "name", "point", "signal"),
    "time": ("time", "timestamp", "time stamp", "datetime", "date time", "date_time", "ts"),
    "value": ("value", "val"),
    "quality": ("quality", "status", "opcquality"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which column of a table holds what.

    Attributes:
        time: Column of the stamps.
        tag, value, quality: Columns of a long table; None in a wide one (quality also where there is none).
        wide: Tag columns of a wide table; empty in a long one.
    """

    time: str
    tag: str | None = None
    value: str | None = None
    quality: str | None = None
    wide: tuple[str, ...] = ()

    @classmethod
    def of(cls, header: Sequence[str], options: TableOptions, place: str) -> Layout:
        """The layout of a table with this header.

        Raises:
            HistorianError: a column that the options name is missing, a name stands twice, or there is but one column.
        """
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise HistorianError(f"{place}: column {twice[0]!r} stands twice in the header. Rename or remove one.")
        found = {role: _column(header, role, _named(options, role), place) for role in _USUAL}
        tag, time, value = found["tag"], found["time"], found["value"]
        is_long = tag is not None and value is not None and time is not None
        if options.layout == "long" and not is_long:
            raise HistorianError(
                f"{place}: a long table needs columns for tag, time and value, got {', '.join(header)}. "
                "Name them in history.options.columns."
            )
        if is_long and options.layout != "wide":
            return cls(time=time or "", tag=tag, value=value, quality=found["quality"])
        time = time or header[0]
        columns = tuple(name for name in header if name and name != time)
        if not columns:
            raise HistorianError(
                f"{place}: found only one column, {header[0]!r}. Set history.options.delimiter, or export the tags too."
            )
        return cls(time=time, wide=columns)


def _named(options: TableOptions, role: str) -> str | None:
    named = options.time_column if role == "time" else getattr(options.columns, role)
    return None if named is None else str(named)


def _column(header: Sequence[str], role: str, named: str | None, place: str) -> str | None:
    if named is not None:
        if named not in header:
            key = f"history.options.columns.{role}"
            raise HistorianError(f"{place}: {key} is {named!r}, but the columns are {', '.join(header)}. Correct it.")
        return named
    folded = {name.strip().casefold(): name for name in reversed(header)}
    return next((folded[usual] for usual in _USUAL[role] if usual in folded), None)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the tables of one historian are turned into samples."""

    options: TableOptions
    timezone: str | None

    def stamping(self, place: str) -> Stamping:
        return Stamping(
            options=self.options.time,
            timezone=self.timezone,
            ambiguous=self.options.ambiguous,
            decimal=self.options.decimal,
            from_first=self.placed_by_file,
            place=place,
        )

    @property
    def placed_by_file(self) -> bool:
        """Whether stamps only count within their file, which is placed on a day of its own."""
        return self.options.campaign == "file" and self.options.time.unit is not None

    def columns(self, layout: Layout, wanted: Mapping[str, str]) -> list[str]:
        """Columns that need to be loaded for the wanted tags (source name -> tag)."""
        if layout.tag is None:
            return [layout.time, *(name for name in layout.wide if name in wanted)]
        return [name for name in (layout.tag, layout.time, layout.value, layout.quality) if name is not None]

    def samples(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        """Samples of each wanted tag (source name -> tag) that the table holds, in the order of its rows."""
        if layout.tag is None:
            return self._wide(frame, layout, wanted, place)
        return self._long(frame, layout, wanted, place)

    def _wide(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        stamps = self.stamping(place).utc(frame[layout.time])
        found = {}
        for source in (name for name in layout.wide if name in wanted):
            cells = numbers(frame[source], self.options, f"{place}, column {source!r}")
            state = cells["word"].set(cells["word"] == "", None)
            samples = stamps.with_columns(
                value=cells["value"],
                status=pl.lit(None, pl.Int64),
                quality=pl.lit(int(Quality.GOOD), pl.Int8),
                state=state,
            )
            # An empty cell is no sample: the row stands there for another tag.
            found[wanted[source]] = _finished(samples.filter(cells["value"].is_not_null() | state.is_not_null()))
        return found

    def _long(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        names = source_names(frame[layout.tag or ""])
        # Stamps of all tags, wanted or not: where the clock was set back is told by each of them.
        stamps = self.stamping(place).utc(frame[layout.time], stream=names)
        kept = names.is_in(list(wanted))
        frame, names = frame.filter(kept), names.filter(kept)
        cells = numbers(frame[layout.value or ""], self.options, f"{place}, column {layout.value!r}")
        samples = stamps.filter(kept).with_columns(value=cells["value"], tag=names)
        word = cells["word"].set((cells["word"] == "") | (cells["word"].is_null() & cells["value"].is_null()), EMPTY)
        if layout.quality is None:
            samples = samples.with_columns(
                status=pl.lit(None, pl.Int64), quality=pl.lit(int(Quality.GOOD), pl.Int8), state=word
            )
        else:
            said = qualities(frame[layout.quality], self.options, f"{place}, column {layout.quality!r}")
            # A raw quality that is a word has no number to be kept in; it is told as the state.
            raw = frame[layout.quality].cast(pl.String)
            raw = raw.set(said["status"].is_not_null() | (said["quality"] == int(Quality.GOOD)), None)
            samples = samples.with_columns(said).with_columns(state=word.zip_with(word.is_not_null(), raw))
        parts = samples.partition_by("tag", as_dict=True, include_key=False)
        return {wanted[str(name)]: _finished(part) for (name,), part in parts.items()}


def source_names(column: pl.Series) -> pl.Series:
    """Tag names of a long table, without blanks around and otherwise to the letter."""
    names = column.cast(pl.String)
    return names.str.strip_chars() if names.str.contains(r"^\s|\s$").any() else names


def _finished(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.with_columns(
        quality=pl.when(pl.col("value").is_null()).then(pl.lit(int(Quality.BAD), pl.Int8)).otherwise(pl.col("quality")),
        back=(pl.col("time").cast(pl.Int64).diff() < 0).fill_null(False),
    ).select(pl.col(name).cast(dtype) for name, dtype in SAMPLES.items())
