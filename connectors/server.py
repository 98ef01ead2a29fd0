"""The historian of a server, whatever it speaks: pages, retries, cache, threads, report, once for all drivers."""

from __future__ import annotations

import fnmatch
import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
import pyarrow as pa

from connectors.cache import Cache
from connectors.driver import Driver, joined
from connectors.options import TableOptions, tag_of_source
from connectors.pager import TICK
from connectors.parallel import answers, in_parallel
from connectors.retry import Patience
from connectors.samples import batches
from connectors.server_options import ServerOptions
from connectors.tag_reader import Span, TagReader
from connectors.tally import Tally
from procmodel.data.samples import SCHEMA, Campaign, Query, ReadReport, TagInfo, utc_now
from procmodel.errors import HistorianError
from procmodel.plant import Tag
from procmodel.plant.tag import nearest

Answer = TypeVar("Answer")


class ServerHistorian:
    """A `Historian` over a driver. One read at a time: the report is that of the last one.

    Args:
        driver: Knows how the source is asked.
        tags: What the plant knows of its tags: unit, range. A tag that is not among them is read as it stands.
        options: How it is to be asked.
        timezone: Zone of stamps that carry none, for messages.
        patience: Waits between attempts; absent: as the options say.
        now: The clock.
        sleep: Waits so many seconds; absent: really, until the read is left.
    """

    def __init__(
        self,
        driver: Driver,
        tags: Mapping[str, Tag],
        options: ServerOptions,
        *,
        timezone: str | None = None,
        patience: Patience | None = None,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.report = ReadReport()
        self._driver, self._tags, self._options, self._timezone = driver, tags, options, timezone
        self._rename = tag_of_source(TableOptions(rename=options.rename), tags)
        self._source = {tag: source for source, tag in self._rename.items()}
        self._patience = patience or Patience(attempts=options.attempts)
        self._now, self._sleep = now, sleep
        self._cache: Cache | None = None
        if options.cache is not None:
            self._cache = Cache(folder=Path(options.cache.folder).expanduser(), identity=driver.identity)

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        """Tags whose name matches a shell pattern, with case, by their names in the plant."""
        reader = self._reader()
        try:
            # A renamed tag is not found by its own pattern there.
            asked = "*" if self._rename else pattern
            found = reader.patiently(lambda: list(self._driver.search(asked)), self._tally("", None))
        finally:
            self._driver.close()
        for info in found:
            known = replace(info, name=self._rename.get(info.name, info.name))
            if fnmatch.fnmatchcase(known.name, pattern):
                yield known

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Samples of the query, each tag's in rising time order; tags are mixed as the server answers.

        Raises:
            HistorianError: the server cannot be asked, does not know a tag, or recorded nothing in the range.
        """
        report = self.report = ReadReport()
        reader = self._reader()
        tallies = {tag: self._tally(tag, query.start) for tag in query.tags}
        try:
            spans = self._each(reader, [partial(self._span, reader, query, tally) for tally in tallies.values()])
            self._refuse_unknown(reader, dict(zip(tallies, spans, strict=True)))
            known = [span for span in spans if span is not None]
            if not any(span.inside for span in known):
                raise HistorianError(self._nothing_there(reader, query, known))
        finally:
            # Left here for a moment too: what is returned may never be asked for anything.
            self._driver.close()
        return self._batches(reader, known, tallies, report)

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        """The newest sample of each tag, in the order asked.

        Raises:
            HistorianError: as for `read`.
        """
        self.report = ReadReport()
        reader = self._reader()

        def last(tag: str) -> pl.DataFrame | None:
            tally, source = self._tally(tag, None), self._source.get(tag, tag)
            newest = reader.newest(source, None, tally)
            if newest is None:
                return None
            found = list(replace(reader, cache=None).samples(source, newest, newest + TICK, tally))
            return tally.take(joined(found)).tail(1)

        try:
            held = dict(zip(tags, self._each(reader, [partial(last, tag) for tag in tags]), strict=True))
            self._refuse_unknown(reader, held)
        finally:
            self._driver.close()
        found = batches({tag: frame for tag, frame in held.items() if frame is not None})
        return pa.Table.from_batches(found, schema=SCHEMA).combine_chunks().to_batches()[0]

    def campaigns(self) -> Sequence[Campaign]:
        """None: a server holds one record."""
        return ()

    def _reader(self) -> TagReader:
        return TagReader(
            driver=self._driver,
            rows=min(self._options.page or self._driver.page_rows, self._driver.most_rows),
            patience=self._patience,
            cache=self._cache,
            unsettled=self._options.cache.newest if self._options.cache else 0.0,
            now=self._now,
            sleep=self._sleep,
            stop=threading.Event(),
        )

    def _tally(self, tag: str, start: datetime | None) -> Tally:
        return Tally(name=tag, tag=self._tags.get(tag), start=start, timezone=self._timezone)

    def _span(self, reader: TagReader, query: Query, tally: Tally) -> Span | None:
        return reader.span(tally.name, self._source.get(tally.name, tally.name), query, tally)

    def _each(self, reader: TagReader, questions: Sequence[Callable[[], Answer]]) -> list[Answer]:
        return answers(questions, workers=self._options.parallel, stop=reader.stop)

    def _batches(
        self, reader: TagReader, spans: Sequence[Span], tallies: Mapping[str, Tally], report: ReadReport
    ) -> Iterator[pa.RecordBatch]:
        def stream(span: Span) -> Generator[pa.RecordBatch]:
            tally = tallies[span.tag]
            with closing(reader.samples(span.source, span.start, span.end, tally)) as frames:
                for frame in frames:
                    yield from batches({span.tag: tally.take(frame)})

        streams = [partial(stream, span) for span in spans]
        try:
            with closing(in_parallel(streams, workers=self._options.parallel, stop=reader.stop)) as found:
                yield from found
        finally:
            self._driver.close()
            for tally in tallies.values():
                tally.into(report)
            digests = "".join(f"{len(tag)} {tag} {tally.digest()}" for tag, tally in tallies.items())
            report.sources[self._driver.place] = hashlib.sha256(digests.encode()).hexdigest()

    def _refuse_unknown(self, reader: TagReader, found: Mapping[str, object]) -> None:
        for tag, answer in found.items():
            if answer is None:
                source = self._source.get(tag, tag)
                known = reader.patiently(lambda: list(self._driver.search("*")), self._tally(tag, None))
                raise HistorianError(
                    f"Tag {tag!r} is not in the record ({self._driver.place}): it has no sample of {source!r}; "
                    f"{nearest(source, [info.name for info in known])} Correct the tag's name in the plant file, or "
                    "set history.options.rename."
                )

    def _nothing_there(self, reader: TagReader, query: Query, spans: Sequence[Span]) -> str:
        newest = [reader.newest(span.source, None, self._tally(span.tag, None)) for span in spans]
        held = [each for each in newest if each is not None]
        start, end = (stamp.isoformat() if stamp else "open" for stamp in (query.start, query.end))
        return (
            f"Nothing was recorded in the range asked for, {start} to {end} ({self._driver.place}). The newest sample "
            f"there is of {max(held).isoformat() if held else 'no time at all'}. Ask for another range."
        )
