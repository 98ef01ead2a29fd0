"""The stopwatch of one tick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Watch:
    """Seconds by stage, and how long the tick has run.

    Attributes:
        clock: Seconds, rising.
        deadline: Seconds that the tick may take; None for any number.
    """

    clock: Callable[[], float] = time.perf_counter
    deadline: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        begun = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - begun

    @property
    def elapsed(self) -> float:
        return self.clock() - self._begun

    def has(self, seconds: float) -> bool:
        """Whether so many more seconds are left."""
        return self.deadline is None or self.elapsed + seconds < self.deadline
