"""The historian of a server, whatever it speaks: pages, retries, cache, threads and the report, once for all drivers."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
import pyarrow as pa

from connectors.cache import PART_ROWS, Cache
from connectors.driver import Driver, Page, joined
from connectors.options import renamed
from connectors.pager import TICK, pages
from connectors.parallel import in_parallel
from connectors.retry import Patience
from connectors.samples import batches, within
from connectors.server_options import ServerOptions
from connectors.stamps import EPOCH
from connectors.tally import Tally
from procmodel.data.samples import SCHEMA, Campaign, Query, ReadReport, TagInfo, utc_now
from procmodel.errors import HistorianError
from procmodel.plant import Tag
from procmodel.plant.tag import nearest

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What is to be read of one tag: `[start, end)`, by its name in the source."""

    tag: str
    source: str
    start: datetime
    end: datetime
    inside: bool  # whether a sample lies in the range asked for


class ServerHistorian:
    """A `Historian` over a driver.

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
        self._rename = renamed(options.rename, tags)
        self._source = {tag: source for source, tag in self._rename.items()}
        self._patience = patience or Patience(attempts=options.attempts)
        self._now, self._sleep = now, sleep or time.sleep
        self._rows = min(options.page or driver.page_rows, driver.most_rows)
        self._cache: Cache | None = None
        if options.cache is not None:
            self._cache = Cache(folder=Path(options.cache.folder).expanduser(), identity=driver.identity)

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        """Tags whose name matches a shell pattern, with case, by their names in the plant."""
        try:
            # A renamed tag is not found by its own pattern there.
            asked = "*" if self._rename else pattern
            for info in self._patiently(lambda: list(self._driver.search(asked)), Tally.nameless()):
                info = replace(info, name=self._rename.get(info.name, info.name))
                if fnmatch.fnmatchcase(info.name, pattern):
                    yield info
        finally:
            self._driver.close()

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Samples of the query, each tag's in rising time order; tags are mixed as the server answers.

        Raises:
            HistorianError: the server cannot be asked, does not know a tag, or recorded nothing in the range.
        """
        report = self.report = ReadReport()
        tallies = {
            tag: Tally(name=tag, tag=self._tags.get(tag), start=query.start, timezone=self._timezone)
            for tag in query.tags
        }
        try:
            spans = self._each(query.tags, lambda tag: self._span(tag, query, tallies[tag]))
            self._refuse_unknown(dict(zip(query.tags, spans, strict=True)))
            known = [span for span in spans if span is not None]
            if not any(span.inside for span in known):
                raise HistorianError(self._nothing_there(query, known))
        finally:
            self._driver.close()
        return self._batches(known, tallies, report)

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        """The newest sample of each tag, in the order asked.

        Raises:
            HistorianError: as for `read`.
        """
        self.report = ReadReport()

        def last(tag: str) -> pl.DataFrame | None:
            tally, source = Tally(name=tag, tag=self._tags.get(tag), start=None), self._source.get(tag, tag)
            newest = self._patiently(lambda: self._driver.newest(source, None), tally)
            if newest is None:
                return None
            found = self._fetched(source, newest, newest + TICK, tally)
            return tally.take(joined([frame for frame, _ in found])).tail(1)

        try:
            held = dict(zip(tags, self._each(tags, last), strict=True))
            self._refuse_unknown(held)
        finally:
            self._driver.close()
        found = batches({tag: frame for tag, frame in held.items() if frame is not None})
        return pa.Table.from_batches(found, schema=SCHEMA).combine_chunks().to_batches()[0]

    def campaigns(self) -> Sequence[Campaign]:
        """None: a server holds one record."""
        return ()

    def _batches(
        self, spans: Sequence[_Span], tallies: Mapping[str, Tally], report: ReadReport
    ) -> Iterator[pa.RecordBatch]:
        stop = threading.Event()
        streams = [partial(self._stream, span, tallies[span.tag], stop) for span in spans]
        try:
            with closing(in_parallel(streams, workers=self._options.parallel, stop=stop)) as found:
                yield from found
        finally:
            self._driver.close()
            for tally in tallies.values():
                tally.into(report)
            digests = "".join(f"{len(tag)} {tag} {tally.digest()}" for tag, tally in tallies.items())
            report.sources[self._driver.place] = sha256_of(digests.encode())

    def _stream(self, span: _Span, tally: Tally, stop: threading.Event) -> Generator[pa.RecordBatch]:
        """One tag's batches."""
        for frame in self._raw(span, tally):
            yield from batches({span.tag: tally.take(frame)})
            if stop.is_set():
                return

    def _raw(self, span: _Span, tally: Tally) -> Generator[pl.DataFrame]:
        """One tag's samples as the source has them, from the cache where it holds them."""
        if self._cache is None:
            for frame, _ in self._fetched(span.source, span.start, span.end, tally):
                yield frame
            return
        for start, end, held in self._cache.walk(span.source, span.start, span.end):
            if held is None:
                yield from self._fetched_and_kept(self._cache, span.source, start, end, tally)
            else:
                yield within(held, Query(tags=(span.tag,), start=start, end=end, carry_in=False))

    def _fetched_and_kept(
        self, cache: Cache, source: str, start: datetime, end: datetime, tally: Tally
    ) -> Generator[pl.DataFrame]:
        settled = self._now() - timedelta(seconds=self._options.cache.newest if self._options.cache else 0.0)
        kept: list[pl.DataFrame] = []
        reached = start

        def keep() -> None:
            nonlocal start
            until = min(reached, settled)
            if until > start:
                whole = Query(tags=(source,), end=until, carry_in=False)
                cache.add(source, start, until, within(joined(kept), whole))
            kept.clear()
            start = reached

        try:
            for frame, reached in self._fetched(source, start, end, tally):
                kept.append(frame)
                if sum(each.height for each in kept) >= PART_ROWS:
                    keep()
                yield frame
        finally:
            keep()

    def _fetched(
        self, source: str, start: datetime, end: datetime, tally: Tally
    ) -> Iterator[tuple[pl.DataFrame, datetime]]:
        def ask(since: datetime, until: datetime, limit: int) -> Page:
            tally.counts["pages"] += 1
            return self._patiently(lambda: self._driver.page(source, since, until, limit), tally)

        return pages(
            ask,
            start,
            end,
            limit=self._rows,
            most=self._driver.most_rows,
            note=tally.notes.append,
            place=self._driver.place,
        )

    def _span(self, tag: str, query: Query, tally: Tally) -> _Span | None:
        """What is to be read of a tag; None where the source has no sample of it."""
        source = self._source.get(tag, tag)
        newest = self._newest(source, query.end, tally)
        start = query.start or EPOCH
        if newest is None:
            # None before the end: perhaps some after it.
            if query.end is None or self._newest(source, None, tally) is None:
                return None
            return _Span(tag=tag, source=source, start=start, end=query.end, inside=False)
        end, inside = query.end or newest + TICK, newest >= start
        if query.start is not None and query.carry_in:
            held = self._newest(source, start, tally) if inside else newest
            start = held or start
        return _Span(tag=tag, source=source, start=start, end=max(start, end), inside=inside)

    def _newest(self, source: str, before: datetime | None, tally: Tally) -> datetime | None:
        if self._cache is not None and before is not None:
            held = self._cache.newest(source, before)
            if held is not None:
                return held
        return self._patiently(lambda: self._driver.newest(source, before), tally)

    def _patiently(self, request: Callable[[], Answer], tally: Tally) -> Answer:
        def retried() -> None:
            tally.counts["retries"] += 1

        return self._patience.ask(request, sleep=self._sleep, retried=retried)

    def _each(self, tags: Sequence[str], question: Callable[[str], Answer]) -> list[Answer]:
        """The answer for each tag, several at once."""
        if len(tags) <= 1 or self._options.parallel == 1:
            return [question(tag) for tag in tags]
        with ThreadPoolExecutor(self._options.parallel) as threads:
            return list(threads.map(question, tags))

    def _refuse_unknown(self, found: Mapping[str, object]) -> None:
        for tag, answer in found.items():
            if answer is None:
                source = self._source.get(tag, tag)
                names = [info.name for info in self._patiently(lambda: list(self._driver.search("*")), Tally.nameless())]
                raise HistorianError(
                    f"Tag {tag!r} is not in the record ({self._driver.place}): it has no sample of {source!r}; "
                    f"{nearest(source, names)} Correct the tag's name in the plant file, or set history.options.rename."
                )

    def _nothing_there(self, query: Query, spans: Sequence[_Span]) -> str:
        ...
