"""How one tag is read from a server: which range, from the cache or page by page, asked again where that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import polars as pl

from connectors.cache import PART_ROWS, Cache
from connectors.driver import Driver, Page, joined
from connectors.pager import TICK, pages
from connectors.retry import Patience
from connectors.samples import within
from connectors.stamps import EPOCH
from connectors.tally import Tally
from procmodel.data.samples import Query
from procmodel.errors import HistorianError

Answer = TypeVar("Answer")


class LeftError(HistorianError):
    """Whoever asked has gone: a wait for the next attempt was broken off."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is to be read of one tag: `[start, end)`, by its name in the source."""

    tag: str
    source: str
    start: datetime
    end: datetime
    inside: bool  # whether a sample lies in the range asked for


@dataclass(frozen=True, kw_only=True)
class TagReader:
    """Reads tags of one server; several threads may do so at once.

    Attributes:
        rows: Samples in a page.
        cache: Where what was read is kept; None: nowhere.
        unsettled: What is younger is not kept, since late samples may still arrive [s].
        now: The clock.
        sleep: Waits so many seconds; None: really, until `stop`.
        stop: Set when whoever asked has gone.
    """

    driver: Driver
    rows: int
    patience: Patience
    cache: Cache | None
    unsettled: float
    now: Callable[[], datetime]
    sleep: Callable[[float], object] | None
    stop: threading.Event

    def span(self, tag: str, source: str, query: Query, tally: Tally) -> Span | None:
        """What is to be read of a tag; None where the source has no sample of it."""
        newest = self.newest(source, query.end, tally)
        start = query.start or EPOCH
        if newest is None:
            # None before the end: perhaps some after it.
            if query.end is None or self.newest(source, None, tally) is None:
                return None
            return Span(tag=tag, source=source, start=start, end=query.end, inside=False)
        end, inside = query.end or newest + TICK, newest >= start
        if query.start is not None and query.carry_in:
            held = self.newest(source, start, tally) if inside else newest
            start = held or start
        return Span(tag=tag, source=source, start=start, end=max(start, end), inside=inside)

    def newest(self, source: str, before: datetime | None, tally: Tally) -> datetime | None:
        """Time of the newest sample before a moment (None: of all); from the cache where it can tell."""
        if self.cache is not None and before is not None:
            held = self.cache.newest(source, before)
            if held is not None:
                return held
        return self.patiently(lambda: self.driver.newest(source, before), tally)

    def samples(self, source: str, start: datetime, end: datetime, tally: Tally) -> Generator[pl.DataFrame]:
        """Samples of `[start, end)` as the source has them, in order of time."""
        if self.cache is None:
            for frame, _ in self._fetched(source, start, end, tally):
                yield frame
            return
        for since, until, held in self.cache.walk(source, start, end):
            if held is None:
                yield from self._fetched_and_kept(self.cache, source, since, until, tally)
            else:
                yield within(held, Query(tags=(source,), start=since, end=until, carry_in=False))

    def patiently(self, request: Callable[[], Answer], tally: Tally) -> Answer:
        """The answer to a request, sent again where that may help."""

        def retried() -> None:
            tally.counts["retries"] += 1

        return self.patience.ask(request, sleep=self.sleep or self._wait, retried=retried)

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise LeftError(f"{self.driver.place}: the read was left while the server was waited for.")

    def _fetched_and_kept(
        self, cache: Cache, source: str, start: datetime, end: datetime, tally: Tally
    ) -> Generator[pl.DataFrame]:
        """From the server, and into the cache: also what was fetched before an interruption."""
        settled = self.now() - timedelta(seconds=self.unsettled)
        kept: list[pl.DataFrame] = []
        since = reached = start

        def keep() -> None:
            nonlocal since
            until = min(reached, settled)
            if until > since:
                cache.add(source, since, until, within(joined(kept), Query(tags=(source,), end=until)))
            kept.clear()
            since = reached

        try:
            for frame, until in self._fetched(source, start, end, tally):
                kept.append(frame)
                reached = until  # after it, so that an interruption in between covers too little, never too much
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
            return self.patiently(lambda: self.driver.page(source, since, until, limit), tally)

        return pages(
            ask,
            start,
            end,
            limit=self.rows,
            most=self.driver.most_rows,
            note=tally.notes.append,
            place=self.driver.place,
        )
