"""The actual mode: what was asked for, but never above what health allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from procmodel.advice import Mode

_ORDER = (Mode.OFF, Mode.SIMULATE, Mode.ADVISE)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most that one finding about model or plant allows, and the finding in words."""

    mode: Mode
    why: str


def actual_mode(requested: Mode, ceilings: Iterable[Ceiling]) -> tuple[Mode, str]:
    """The mode that is granted, and why it is less than the requested one; "" where it is not."""
    mode, why = requested, ""
    for ceiling in ceilings:
        if _ORDER.index(ceiling.mode) < _ORDER.index(mode):
            mode, why = ceiling.mode, ceiling.why
    return mode, why
