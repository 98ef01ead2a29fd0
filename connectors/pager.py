"""From page to page through a range, so that each sample is handed over once, however many share a time stamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import polars as pl

from connectors.driver import Page, TooLargeError
from connectors.stamps import UTC_TIME
from procmodel.errors import HistorianError

TICK = timedelta(microseconds=1)
SHORTEST = timedelta(milliseconds=1)  # a server that refuses this as too large refuses everything

Ask = Callable[[datetime, datetime, int], Page]


def pages(
    ask: Ask, start: datetime, end: datetime, *, limit: int, most: int, note: Callable[[str], None], place: str
) -> Iterator[tuple[pl.DataFrame, datetime]]:
    """Samples in rising time order, and until when (exclusive) everything has been handed over.

    Samples at the last stamp of a full page are left to the next page, which starts with that stamp: so none is doubled
    and none is lost where several share it. Where one stamp fills a page, a larger one is asked for.

    Args:
        ask: Answers `(start, end, limit)`; a `TooLargeError` makes the range half as long.
        limit: Samples in a page.
        most: Samples in the largest page that may be asked for.
        note: Told what could not be had.

    Raises:
        HistorianError: the server refuses every range, or says that there is more but does not show it.
    """
    since, span, rows = start, end - start, limit
    while since < end:
        until = since + span if span < end - since else end
        try:
            page = ask(since, until, rows)
        except TooLargeError as error:
            span = (until - since) / 2
            if span < SHORTEST:
                raise HistorianError(
                    f"{error} Even {SHORTEST / timedelta(seconds=1):g} s is too long a range."
                ) from error
            continue
        samples = _inside(page.samples, since, until)
        if not page.more:
            yield samples, until
            if samples.height < limit // 4:
                span *= 2  # a range was too large where samples lay close; that may be behind us
            since, rows = until, limit
            continue
        last = samples["time"].max()
        if isinstance(last, datetime) and last > since:
            yield samples.filter(pl.col("time").is_null() | (pl.col("time") < last)), last
            since, rows = last, limit
        elif rows < most:
            rows = min(most, 4 * rows)
        elif last is None:
            raise HistorianError(
                f"{place}: says that there is more after {since.isoformat()}, but sends nothing of it. Its answers "
                "cannot be trusted; ask whoever runs it."
            )
        else:
            note(f"at least {samples.height} samples share the stamp {since.isoformat()}; the server shows no more")
            yield samples, since + TICK
            since, rows = since + TICK, limit


def _inside(samples: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Those of the range, in order of time; those without a stamp first, since they are to be counted."""
    time = pl.col("time")
    inside = time.is_null() | ((time >= pl.lit(start, UTC_TIME)) & (time < pl.lit(end, UTC_TIME)))
    return samples.filter(inside).sort("time", maintain_order=True)
