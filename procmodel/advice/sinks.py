"""Sinks: where advice goes. A simulated plant that follows it is one too."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from procmodel.advice.advice import Advice
from procmodel.advice.show import render

if TYPE_CHECKING:
    from rich.console import Console


class Sink(Protocol):
    """Takes each advice once, in order."""

    def show(self, advice: Advice) -> None:
        """Hand it over; an error means that it did not arrive."""
        ...


@dataclass(frozen=True)
class ConsoleSink:
    """A table for the operator; times in `zone`."""

    console: Console
    zone: tzinfo = UTC

    def show(self, advice: Advice) -> None:
        render(advice, self.console, zone=self.zone)


@dataclass(frozen=True)
class JsonLinesSink:
    """One JSON object per line, appended, and on the disk before `show` returns.

    A line cut short by a crash is closed first, so that it spoils no other.
    """

    path: Path

    def show(self, advice: Advice) -> None:
        line = json.dumps(advice.to_dict(), allow_nan=False, separators=(",", ":")) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class Tee:
    """Several sinks, in order; where one fails, those after it see nothing. So the record stands before the screen."""

    sinks: Sequence[Sink]

    def show(self, advice: Advice) -> None:
        for sink in self.sinks:
            sink.show(advice)
