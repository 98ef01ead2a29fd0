"""Tables of any layout to samples.

A samples frame has the columns `time`, `value`, `status`, `quality` and `state` of `procmodel.data.samples.SCHEMA`,
`mark` (`Mark` of its stamp) and `back` (its stamp lies before that of the row above, of the same tag).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from connectors.cells import numbers, qualities
from connectors.layouts import Layout
from connectors.options import TableOptions
from connectors.stamp_formats import written_of
from connectors.stamp_text import stripped
from connectors.stamps import UTC_TIME, Mark, Stamping
from procmodel.data.samples import Quality

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
        time = self.options.time
        beside = [time.date, time.bias.column if time.bias else None, layout.unit]
        if layout.tag is not None:
            named = [layout.tag, layout.time, layout.value, layout.quality, *beside]
        else:
            signals = [signal for signal in layout.signals if signal.tag in wanted]
            named = [layout.time, *beside]
            named += [name for each in signals for name in (each.time, each.value, each.quality)]
        return list(dict.fromkeys(name for name in named if name is not None))

    def samples(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        """Samples of each wanted tag (source name -> tag) that the table holds, in the order of its rows."""
        if layout.tag is None:
            return self._of_signals(frame, layout, wanted, place)
        return self._long(frame, layout, wanted, place)

    def units(self, frame: pl.DataFrame, layout: Layout) -> dict[str, list[str]]:
        """What a unit column says of each tag (by source name); more than one where it changes."""
        if layout.unit is None:
            return {}
        names = source_names(frame[layout.tag]) if layout.tag else pl.Series([layout.wide[0]] * frame.height)
        said = pl.DataFrame({"tag": names.cast(pl.String), "unit": source_names(frame[layout.unit])}).drop_nulls()
        said = said.filter(pl.col("unit") != "").unique(maintain_order=True)
        found: dict[str, list[str]] = {}
        for tag, unit in said.rows():
            found.setdefault(tag, []).append(unit)
        return found

    def _deciding(self, frame: pl.DataFrame, layout: Layout, place: str) -> Stamping:
        """How stamps are read where each tag has a time column: all of them decide what comes first, day or month."""
        stamping, columns = self.stamping(place), [frame[name] for name in {each.time for each in layout.signals}]
        told = self.options.time.format or self.options.time.unit or self.options.time.date
        if len(columns) == 1 or told or any(column.dtype != pl.String for column in columns):
            return stamping
        written = written_of(stripped(pl.concat([column.rename("time") for column in columns])))
        if not written.formats or written.undecided:
            return stamping
        return replace(stamping, options=self.options.time.model_copy(update={"format": list(written.formats)}))

    def _stamps(
        self,
        frame: pl.DataFrame,
        time: str,
        place: str,
        stream: pl.Series | None = None,
        stamping: Stamping | None = None,
    ) -> pl.DataFrame:
        column, date, bias = frame[time], self.options.time.date, self.options.time.bias
        if date is not None:
            column = pl.select(pl.concat_str(frame[date], column, separator=" ", ignore_nulls=False)).to_series()
        stamping = stamping or self.stamping(place)
        return stamping.utc(column, stream, frame[bias.column] if bias is not None else None)

    def _of_signals(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        stamps: dict[str, pl.DataFrame] = {}
        found, stamping = {}, self._deciding(frame, layout, place)
        for signal in (each for each in layout.signals if each.tag in wanted):
            if signal.time not in stamps:
                stamps[signal.time] = self._stamps(frame, signal.time, place, stamping=stamping)
            cells = numbers(frame[signal.value], self.options, f"{place}, column {signal.value!r}")
            state = cells["word"].set(cells["word"] == "", None)
            samples = stamps[signal.time].with_columns(
                value=cells["value"],
                status=pl.lit(None, pl.Int64),
                quality=pl.lit(int(Quality.GOOD), pl.Int8),
                state=state,
            )
            # An empty cell is no sample: the row stands there for another tag.
            held = cells["value"].is_not_null() | state.is_not_null()
            if signal.quality is not None:
                samples, spoken = self._judged(samples, frame[signal.quality], place, signal.quality)
                held |= spoken
            if signal.alone:
                # Without a stamp and a value, the row stands there for another tag, whose rows are more.
                held = (samples["mark"] != int(Mark.EMPTY)) | samples["value"].is_not_null() | state.is_not_null()
            samples = samples.with_columns(
                state=samples["state"].set(samples["state"].is_null() & samples["value"].is_null(), EMPTY)
            )
            found[wanted[signal.tag]] = _finished(samples.filter(held))
        return found

    def _judged(
        self, samples: pl.DataFrame, cells: pl.Series, place: str, column: str
    ) -> tuple[pl.DataFrame, pl.Series]:
        """Samples with the quality that stands beside them, and where anything stands there."""
        said = qualities(cells, self.options, f"{place}, column {column!r}")
        text = source_names(cells)
        # A raw quality that is a word has no number to be kept in; it is told as the state.
        raw = text.set(said["status"].is_not_null() | (said["quality"] == int(Quality.GOOD)) | (text == ""), None)
        state = samples["state"]
        judged = samples.with_columns(said).with_columns(state=state.zip_with(state.is_not_null(), raw))
        return judged, (text != "").fill_null(False)

    def _long(
        self, frame: pl.DataFrame, layout: Layout, wanted: Mapping[str, str], place: str
    ) -> dict[str, pl.DataFrame]:
        names = source_names(frame[layout.tag or ""])
        # Stamps of all tags, wanted or not: where the clock was set back is told by each of them.
        stamps = self._stamps(frame, layout.time, place, stream=names)
        kept = names.is_in(list(wanted))
        frame, names = frame.filter(kept), names.filter(kept)
        cells = numbers(frame[layout.value or ""], self.options, f"{place}, column {layout.value!r}")
        word = cells["word"].set((cells["word"] == "") | (cells["word"].is_null() & cells["value"].is_null()), EMPTY)
        samples = stamps.filter(kept).with_columns(
            value=cells["value"],
            tag=names,
            status=pl.lit(None, pl.Int64),
            quality=pl.lit(int(Quality.GOOD), pl.Int8),
            state=word,
        )
        if layout.quality is not None:
            samples, _ = self._judged(samples, frame[layout.quality], place, layout.quality)
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
