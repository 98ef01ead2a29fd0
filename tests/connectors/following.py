"""Takes what a live source hands over, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from procmodel.data.samples import SCHEMA


class Following:
    """What came so far.

    Args:
        live: A live source.
        meanwhile: Called after each batch.
        patience: What `wait` waits for at most [s].
    """

    def __init__(self, live: Any, *, meanwhile: Callable[[], None] = lambda: None, patience: float = 60.0) -> None:
        self.live, self._meanwhile, self._patience = live, meanwhile, patience
        self.rows: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.failed: BaseException | None = None
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for batch in self.live.samples():
                assert batch.schema == SCHEMA
                with self._more:
                    self.rows += batch.to_pylist()
                    self.sizes.append(batch.num_rows)
                    self._more.notify_all()
                self._meanwhile()
        except BaseException as error:
            self.failed = error
            with self._more:
                self._more.notify_all()

    def wait(self, count: int, tag: str) -> None:
        """Until a tag has so many samples; raises what the source raised."""
        with self._more:
            assert self._more.wait_for(lambda: self._count(tag) >= count or self.failed, timeout=self._patience)
        if self.failed is not None:
            raise self.failed

    def _count(self, tag: str) -> int:
        return sum(row["tag"] == tag for row in self.rows)

    def close(self) -> None:
        self.live.close()
        self._thread.join()
