"""The historian of a record kept in tables, whatever they are kept in: CSV files, Parquet files, frames in memory."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa

from connectors.frames import SAMPLES, Reading, source_names
from connectors.layouts import Layout
from connectors.options import TableOptions, check_signs, tag_of_source
from connectors.samples import batches, converted, deduplicated, not_before, span_of, stamped, within
from connectors.stamps import EPOCH, Mark, origin_of
from connectors.tables import Part, Table
from procmodel.data.samples import SCHEMA, Campaign, Quality, Query, ReadReport, TagInfo
from procmodel.errors import HistorianError
from procmodel.plant import Tag
from procmodel.plant.tag import nearest
from procmodel.plant.words import many


class TableHistorian:
    """A `Historian` over tables. Parsed tables are kept until they change on disk.

    Args:
        tables: Lists the tables; called again for each read, so that new files are seen.
        tags: What the plant knows of its tags: unit, range. A tag that is not among them is read as it stands.
        options: How the tables are written.
        timezone: Zone of stamps that carry none.
    """

    def __init__(
        self,
        tables: Callable[[], Sequence[Table]],
        tags: Mapping[str, Tag],
        options: TableOptions,
        timezone: str | None,
    ) -> None:
        self.report = ReadReport()
        check_signs(options)
        self._tables = tables
        self._tags = tags
        self._rename = tag_of_source(options, tags)
        self._options = options
        self._reading = Reading(options=options, timezone=timezone)
        self._parsed: dict[str, tuple[str, frozenset[str], Part]] = {}
        if self._reading.placed_by_file:
            origin_of(options.time, timezone)  # missing or wrong: said at once

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        """Tags whose name matches a shell pattern, with case, and what else the tables tell of them."""
        for name, info in self._known(self._tables()).items():
            if fnmatch.fnmatchcase(name, pattern):
                yield info

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Samples of the query, tag after tag in the order asked; problems are found before the first batch.

        Raises:
            HistorianError: a table cannot be read, a tag is not in it or never good, or nothing lies in the range.
        """
        self.report = ReadReport()
        parts = self._parts(query.tags)
        for part in parts:
            self.report.sources[part.place] = part.digest
            self.report.notes.extend(part.notes)
            self.report.units.update({tag: part.infos[tag].unit for tag in query.tags if _unit_of(part, tag)})
        records = {tag: self._record(tag, parts) for tag in query.tags}
        asked = {tag: within(record, query) for tag, record in records.items()}
        held = {tag: self._counted(tag, frame) for tag, frame in asked.items()}
        inside = span_of([frame["time"].filter(not_before(frame["time"], query.start)) for frame in held.values()])
        if inside is None:
            raise HistorianError(_no_overlap(query, span_of([record["time"] for record in records.values()])))
        self.report.first, self.report.last = inside
        return batches(held)

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        """The newest sample of each tag, in the order asked.

        Raises:
            HistorianError: as for `read`.
        """
        self.report = ReadReport()
        parts = self._parts(tags)
        held = {tag: deduplicated(stamped(self._record(tag, parts)))[0].tail(1) for tag in tags}
        return pa.Table.from_batches(batches(held), schema=SCHEMA).combine_chunks().to_batches()[0]

    def campaigns(self) -> Sequence[Campaign]:
        """Each file as a campaign in order of time, where `options.campaign` says so; otherwise none.

        Raises:
            HistorianError: two files overlap in time.
        """
        if self._options.campaign is None:
            return ()
        spans = [(span, part) for part in self._parts(()) if (span := part.span()) is not None]
        found: list[Campaign] = []
        for (first, last), part in sorted(spans, key=lambda each: each[0]):
            if found and first < found[-1].end:
                raise HistorianError(
                    f"{part.place} starts at {first.isoformat()}, before campaign {found[-1].name!r} ends. "
                    "Campaigns may not overlap in time: remove history.options.campaign, or mend the files."
                )
            found.append(Campaign(name=part.name, start=first, end=last + timedelta(microseconds=1)))
        return found

    def _known(self, tables: Sequence[Table]) -> dict[str, TagInfo]:
        """All tags in the record, by their names in the plant, in order of first appearance."""
        found: dict[str, TagInfo] = {}
        for table in tables:
            layout = self._layout(table)
            told = dict(table.described(layout))
            names: Sequence[str] = layout.wide
            if layout.tag is not None or layout.unit is not None:
                columns = [name for name in (layout.tag, layout.unit) if name is not None]
                frame = table.load(columns).frame
                if layout.tag is not None:
                    names = source_names(frame[layout.tag]).drop_nulls().unique(maintain_order=True).to_list()
                told |= _with_units(told, self._reading.units(frame, layout))
            for source in names:
                name = self._rename.get(source, source)
                if name not in found:
                    found[name] = replace(told.get(source, TagInfo(name=name)), name=name)
        return found

    def _layout(self, table: Table) -> Layout:
        return Layout.of(table.header(), self._options, table.place, table.name)

    def _parts(self, tags: Sequence[str]) -> list[Part]:
        """The tables parsed for these tags and all of the plant's, in their order, placed in time."""
        tables = self._tables()
        wanted = dict.fromkeys([*self._tags, *tags]) or dict.fromkeys(self._known(tables))
        sources = {tag: tag for tag in wanted if tag not in self._rename.values()}
        sources |= {source: tag for source, tag in self._rename.items() if tag in wanted}
        parts = [self._part(table, sources) for table in tables]
        if not any(part.rows for part in parts):
            raise HistorianError(
                f"{_listed([part.place for part in parts])}: no rows below the header. Export it again."
            )
        for tag in tags:
            if not any(tag in part.samples for part in parts):
                source = next((name for name, renamed in self._rename.items() if renamed == tag), tag)
                raise HistorianError(
                    f"Tag {tag!r} is not in the record ({_listed([part.place for part in parts])}): it has no "
                    f"{source!r}; {nearest(source, self._source_names(tables))} "
                    "Correct the tag's name in the plant file, or set history.options.rename."
                )
        return self._placed(parts)

    def _source_names(self, tables: Sequence[Table]) -> list[str]:
        source = {tag: name for name, tag in self._rename.items()}
        return [source.get(name, name) for name in self._known(tables)]

    def _part(self, table: Table, sources: Mapping[str, str]) -> Part:
        version, key = table.version, frozenset(sources)
        kept = self._parsed.get(table.place)
        if kept is not None and kept[0] == version and key <= kept[1]:
            return kept[2]
        layout = self._layout(table)
        loaded = table.load(self._reading.columns(layout, sources))
        samples = self._reading.samples(loaded.frame, layout, sources, table.place)
        units = self._reading.units(loaded.frame, layout)
        infos = _with_units(table.described(layout), units)
        part = Part(
            name=table.name,
            place=table.place,
            rows=loaded.frame.height,
            samples=samples,
            digest=loaded.digest,
            notes=(*loaded.notes, *_changes_of_unit(table.place, units)),
            infos={sources[source]: info for source, info in infos.items() if source in sources},
        )
        self._parsed[table.place] = (version, key, part)
        return part

    def _placed(self, parts: Sequence[Part]) -> list[Part]:
        """With a name of its own each; files whose stamps count from their start on one day after the other."""
        if self._options.campaign is None:
            return list(parts)
        ordered = sorted(parts, key=lambda part: (part.name, part.place))
        names = [part.name for part in ordered]
        ordered = [
            replace(part, name="/".join(Path(part.place).parts[-2:])) if names.count(part.name) > 1 else part
            for part in ordered
        ]
        if not self._reading.placed_by_file:
            return ordered
        origin = origin_of(self._options.time, self._reading.timezone)
        spans = [part.span() for part in ordered]
        for part, span in zip(ordered, spans, strict=True):
            if span is not None and span[0] < EPOCH:
                raise HistorianError(f"{part.place}: its first stamp is not its smallest. Sort the file by time.")
        days = max((span[1] - EPOCH).days + 1 for span in spans if span is not None) if any(spans) else 1
        return [part.later(origin - EPOCH + index * timedelta(days=days)) for index, part in enumerate(ordered)]

    def _record(self, tag: str, parts: Sequence[Part]) -> pl.DataFrame:
        """All samples of a tag in rising time order, converted; rows without a usable stamp stand first.

        Raises:
            HistorianError: none of them is a good or uncertain number.
        """
        frames = [part.samples[tag] for part in parts if tag in part.samples]
        record = pl.concat(frames) if frames else pl.DataFrame(schema=SAMPLES)
        record = record.sort("time", maintain_order=True, nulls_last=False)
        record = record.with_columns(outside=pl.lit(False))
        if tag in self._tags:
            record = converted(record, self._tags[tag])
        held = stamped(record)
        if not (held["quality"] != int(Quality.BAD)).any():
            words = held["state"].drop_nulls().value_counts(sort=True).rows()[:5]
            seen = ", ".join(f"{word!r} {count} times" for word, count in words)
            outside = int(held["outside"].sum())
            seen += f"{', ' if seen and outside else ''}{f'{outside} outside its range' if outside else ''}"
            raise HistorianError(
                f"Tag {tag!r}: none of its {held.height} samples is usable{f' ({seen})' if seen else ''}. "
                f"At least one good value is needed in {_listed([part.place for part in parts])}; "
                "mend the export, or remove the tag from the plant file."
            )
        return record

    def _counted(self, tag: str, record: pl.DataFrame) -> pl.DataFrame:
        """What is handed over of a tag; the report learns what was met and what is left out."""
        report = self.report
        marks = record["mark"]
        missing, empty = int((marks == int(Mark.MISSING)).sum()), int((marks == int(Mark.EMPTY)).sum())
        report.missing_times += missing
        if missing:
            report.notes.append(
                f"{tag}: {many(missing, 'sample')} left out, since their local time does not exist in "
                f"{self._reading.timezone} (the hour that the spring clock change skips)"
            )
        if empty:
            report.notes.append(f"{tag}: {many(empty, 'sample')} left out, since they have no time stamp")
        record, exact, conflicting = deduplicated(stamped(record))
        report.duplicates += exact + conflicting
        if conflicting:
            report.notes.append(
                f"{tag}: {many(conflicting, 'stamp')} held several values; the last one in the file was kept"
            )
        report.rows += record.height
        report.bad += int((record["quality"] == int(Quality.BAD)).sum())
        report.uncertain += int((record["quality"] == int(Quality.UNCERTAIN)).sum())
        report.unsorted += int(record["back"].sum())
        report.out_of_range += int(record["outside"].sum())
        if twice := int((record["mark"] == int(Mark.AMBIGUOUS)).sum()):
            report.ambiguous_times += twice
            report.notes.append(f"{tag}: {many(twice, 'sample')} in the hour that the autumn clock change repeats")
        spoken = record.filter(pl.col("value").is_null())["state"].drop_nulls()
        for word, count in spoken.value_counts(sort=True).rows():
            report.words[word] = report.words.get(word, 0) + count
        return record


def _with_units(told: Mapping[str, TagInfo], units: Mapping[str, Sequence[str]]) -> dict[str, TagInfo]:
    """What is told of tags, with the unit that stands beside their first sample."""
    named = {tag: replace(told.get(tag, TagInfo(name=tag)), unit=said[0]) for tag, said in units.items()}
    return {**told, **named}


def _changes_of_unit(place: str, units: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{place}: {tag} is recorded in more than one unit, {', '.join(said)}; no value was converted"
        for tag, said in units.items()
        if len(said) > 1
    ]


def _unit_of(part: Part, tag: str) -> str:
    return part.infos[tag].unit if tag in part.infos else ""


def _no_overlap(query: Query, recorded: tuple[datetime, datetime] | None) -> str:
    start, end = (stamp.isoformat() if stamp else "open" for stamp in (query.start, query.end))
    first, last = (stamp.isoformat() for stamp in recorded) if recorded else ("nothing", "nothing")
    return (
        f"Nothing was recorded in the range asked for, {start} to {end}. The record holds {first} to {last}. "
        "Ask for a range within it, or add the files that hold the other."
    )


def _listed(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
