"""Counts in sentences."""

from __future__ import annotations


def many(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,500 rows`; `noun` forms its plural with s, or with es after a hiss."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"
