"""Counts and lengths of time in sentences."""

from __future__ import annotations


def many(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,500 rows`; `noun` forms its plural with s, or with es after a hiss."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def lasting(seconds: float) -> str:
    """`5 s`, `2.5 min`, `3 h`, `2 days`: in the largest unit of which there is one or more."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            unit = "day" if unit == "days" and seconds == size else unit
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
