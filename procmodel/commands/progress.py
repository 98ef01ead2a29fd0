"""Progress on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Shows what is being done and how far it is; times every stage.

    `stage` begins a stage; `step(done, total, what)` moves it, and fits wherever a callback is asked for.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._quiet, self._terminal = quiet, sys.stderr.isatty() and not quiet
        self._name, self._began, self._told = "", time.perf_counter(), 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Bars(*columns, console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(whole=kind is None)
        if self._bar is not None:
            self._bar.stop()

    def stage(self, key: str, name: str) -> None:
        """End the stage before, begin one; `key` is its name in `seconds`."""
        self._close(whole=True)
        self._key, self._name, self._began, self._told = key, name, time.perf_counter(), time.perf_counter()
        if self._bar is not None:
            self._task = self._bar.add_task(name, total=None)
        elif not self._quiet:
            print(f"{name} ...", file=sys.stderr, flush=True)

    def step(self, done: int, total: int, what: str = "") -> None:
        """So much of the stage is done; a total of 0 is not known yet."""
        words = f"{self._name}: {what}" if what else self._name
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total or None, description=words)
        elif not self._quiet and time.perf_counter() - self._told > _EVERY:
            self._told = time.perf_counter()
            far = f"{100 * done // total} %" if total else f"{done:,}"
            print(f"{words} {far}", file=sys.stderr, flush=True)

    def _close(self, *, whole: bool) -> None:
        if not self._name:
            return
        spent = time.perf_counter() - self._began
        self.seconds[self._key] = self.seconds.get(self._key, 0.0) + spent
        if self._bar is not None:
            self._bar.update(self._task, description=self._name, completed=1, total=1)
            self._bar.stop_task(self._task)
        elif not self._quiet:
            print(f"{self._name}: {'done' if whole else 'stopped'} after {spent:.1f} s", file=sys.stderr, flush=True)
        self._name = ""
