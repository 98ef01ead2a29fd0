"""Asking again, where that may help: after errors that pass, ever later, and not all at the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from connectors.driver import TransientError
from procmodel.errors import HistorianError

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        attempts: How often a request is sent, at most.
        first: Longest wait before the second attempt; the longest wait doubles from each to the next [s].
        longest: No wait grows beyond it [s].
        bearable: A server that asks for a longer wait (`Retry-After`) is given up [s].
        random: Draws between 0 and 1: a wait is a random part of the longest, so that readers that were refused
            together do not come back together (Brooker, "Exponential Backoff And Jitter", 2015: full jitter).
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    bearable: float = 600.0
    random: Callable[[], float] = field(default_factory=lambda: random.Random().random)

    def ask(
        self, request: Callable[[], Answer], *, sleep: Callable[[float], object], retried: Callable[[], None]
    ) -> Answer:
        """The answer to a request, sent again after each `TransientError` while patience lasts.

        Args:
            sleep: Waits so many seconds.
            retried: Called before each further attempt.

        Raises:
            HistorianError: the request failed each time, or for good.
        """
        for attempt in range(self.attempts):
            try:
                return request()
            except TransientError as error:
                if attempt + 1 == self.attempts:
                    times = f"{self.attempts} times" if self.attempts > 1 else "once"
                    raise HistorianError(f"{error} It was asked {times}. Try again later.") from error
                if error.after is not None and error.after > self.bearable:
                    raise HistorianError(f"{error} It asks to be left alone for {error.after:.0f} s.") from error
                retried()
                sleep(max(error.after or 0.0, self.wait(attempt)))
        raise AssertionError("range(attempts) is never empty")

    def wait(self, attempt: int) -> float:
        """How long to wait after failed attempt number `attempt`, from 0 [s]."""
        return min(self.longest, self.first * 2.0 ** min(attempt, 60)) * self.random()
