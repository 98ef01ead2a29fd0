"""What of a record is read: the asked range and its campaigns, as spans of time without a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from procmodel.data.conditioning import Cells
from procmodel.data.dataset import microseconds
from procmodel.data.samples import Campaign
from procmodel.errors import DatasetError

WHOLE = "record"  # name of the only stretch of a source without campaigns


@dataclass(frozen=True, kw_only=True)
class Span:
    """Time without a hole, [us]; None is open. Campaigns that touch share one.

    Attributes:
        campaigns: Name, start and end of each.
    """

    start: int | None
    end: int | None
    campaigns: tuple[tuple[str, int, int], ...] = ()

    def stretches(self, cells: Cells, step: int) -> list[tuple[str, Cells]]:
        """The campaigns of the span, row by row; a row across a border belongs to the earlier one."""
        if not self.campaigns:
            return [(WHOLE, cells)]
        found, row = [], cells.first_row
        for name, first, last in self.campaigns:
            begin, stop = max(row, first // step), -(-last // step)
            found.append((name, cells.cut(begin - cells.first_row, stop - cells.first_row)))
            row = stop
        return found


def spans_of(campaigns: Sequence[Campaign], start: datetime | None, end: datetime | None, step: int) -> list[Span]:
    """What to read, in order of time: the campaigns cut to the asked range, those that touch in one span.

    Args:
        start, end: What is asked for; outward to whole rows. None: all there is.
        step: Of the grid [us].

    Raises:
        DatasetError: Two campaigns overlap, or none lies in the range.
    """
    lo = None if start is None else microseconds(start) // step * step
    hi = None if end is None else -(-microseconds(end) // step) * step
    if not campaigns:
        return [Span(start=lo, end=hi)]
    spans: list[Span] = []
    before: Campaign | None = None
    for campaign in campaigns:
        if before is not None and campaign.start < before.end:
            raise DatasetError(
                f"Campaign {campaign.name!r} starts at {campaign.start.isoformat()}, before {before.name!r} ends at "
                f"{before.end.isoformat()}. Campaigns must follow each other in time; mend the history source."
            )
        before = campaign
        first, last = microseconds(campaign.start), microseconds(campaign.end)
        first, last = first if lo is None else max(first, lo), last if hi is None else min(last, hi)
        if first >= last:
            continue
        entry = (campaign.name, first, last)
        touched = spans[-1] if spans else None
        if touched is not None and touched.end is not None and first - touched.end <= step:
            spans[-1] = Span(start=touched.start, end=last, campaigns=(*touched.campaigns, entry))
        else:
            spans.append(Span(start=first, end=last, campaigns=(entry,)))
    if not spans:
        known = ", ".join(f"{c.name!r} {c.start.isoformat()} to {c.end.isoformat()}" for c in campaigns)
        raise DatasetError(f"No campaign lies in the asked range {range_text(start, end)}. The source holds {known}.")
    return spans


def range_text(start: datetime | None, end: datetime | None) -> str:
    """An asked range, for messages."""
    return f"{start.isoformat() if start else 'its beginning'} to {end.isoformat() if end else 'its end'}"
