"""A server in memory: what it holds is known, what goes wrong is chosen."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from connectors.driver import Page, TooLargeError, empty_frame, page_frame
from connectors.server import ServerHistorian
from connectors.server_options import ServerOptions
from procmodel.data.samples import Historian, Quality, Query, TagInfo

T0 = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)
LONG_AFTER = T0 + timedelta(days=400)

Row = tuple[int, float | None, Quality]  # seconds after T0, value, quality


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class FakeDriver:
    """Holds `record`, a list of rows per tag in any order.

    Attributes:
        calls: How often each method was asked.
        before_page: Called with tag, start and end before each page is answered; may raise.
        widest: A range longer than this is refused as too large [s].
    """

    place = "fake://plant"

    def __init__(
        self,
        record: Mapping[str, Sequence[Row]],
        *,
        page_rows: int = 3,
        most_rows: int = 10_000,
        widest: float | None = None,
        identity: str = "fake://plant",
        before_page: Callable[[str, datetime, datetime], None] = lambda *_: None,
    ) -> None:
        self.record = {tag: sorted(rows, key=lambda row: row[0]) for tag, rows in record.items()}
        self.page_rows, self.most_rows, self.widest, self.identity = page_rows, most_rows, widest, identity
        self.before_page = before_page
        self.calls: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def search(self, pattern: str) -> Iterator[TagInfo]:
        self.calls["search"] += 1
        yield from (TagInfo(name=tag, unit="degC") for tag in self.record)

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        with self._lock:
            self.calls["page"] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.before_page(tag, start, end)
            if self.widest is not None and end - start > timedelta(seconds=self.widest):
                raise TooLargeError("fake://plant: too many.")
            found = [row for row in self.record.get(tag, []) if start <= at(row[0]) < end]
            shown = found[: min(limit, self.most_rows)]
            if not shown:
                return Page(samples=empty_frame(), more=False)
            time, value, quality = (list(column) for column in zip(*shown, strict=True))
            frame = page_frame([at(each) for each in time], value, quality=quality)
            return Page(samples=frame, more=len(shown) < len(found))
        finally:
            with self._lock:
                self.at_once -= 1

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        self.calls["newest"] += 1
        found = [at(row[0]) for row in self.record.get(tag, []) if before is None or at(row[0]) < before]
        return max(found, default=None)

    def close(self) -> None:
        self.calls["close"] += 1


def historian(driver: FakeDriver, *, sleep: Any = lambda _: None, now: datetime = LONG_AFTER, **options: Any) -> Any:
    """A historian over the driver that waits for nothing."""
    return ServerHistorian(driver, {}, ServerOptions(**options), sleep=sleep, now=lambda: now)


def rows_of(source: Historian, query: Query) -> dict[str, list[tuple[datetime, float | None, int]]]:
    """Time, value and quality of each tag's samples, in the order handed over."""
    return by_tag(query.tags, source.read(query))


def by_tag(tags: Sequence[str], found: Iterator[pa.RecordBatch]) -> dict[str, list[tuple[datetime, float | None, int]]]:
    rows: dict[str, list[tuple[datetime, float | None, int]]] = {tag: [] for tag in tags}
    for batch in found:
        for row in batch.to_pylist():
            rows[row["tag"]].append((row["time"], row["value"], row["quality"]))
    return rows
