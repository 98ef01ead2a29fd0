"""Several streams at once, with bounds: so many threads, and no thread far ahead of who takes what it made."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 2  # items that a thread may be ahead


def in_parallel(
    streams: Sequence[Callable[[], Generator[Item]]], *, workers: int, stop: threading.Event
) -> Generator[Item]:
    """Items of all streams; those of one in their order, streams mixed as they come.

    Args:
        streams: Each is started by a thread that is free, in their order.
        stop: Set when this is left early or one stream fails; streams that wait should then give up. Unset when all
            have ended by themselves.

    Raises:
        Whatever a stream raises; the others are stopped first.
    """
    workers = min(workers, len(streams))
    if workers <= 1:
        for start in streams:
            yield from start()
        return
    waiting = iter(streams)
    turn = threading.Lock()
    made: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(maxsize=AHEAD * workers)

    def put(kind: str, item: Item | BaseException | None) -> None:
        while not stop.is_set():
            try:
                made.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            while not stop.is_set():
                with turn:
                    start = next(waiting, None)
                if start is None:
                    break
                with closing(start()) as stream:
                    for item in stream:
                        put("item", item)
                        if stop.is_set():
                            break
            put("end", None)
        except BaseException as error:  # told to whoever takes the items, and raised there
            put("error", error)

    threads = [threading.Thread(target=work, name=f"reader-{index}", daemon=True) for index in range(workers)]
    for thread in threads:
        thread.start()
    ended = 0
    try:
        while ended < workers:
            kind, item = made.get()
            if kind == "error":
                assert isinstance(item, BaseException)
                raise item
            if kind == "end":
                ended += 1
            else:
                yield item  # type: ignore[misc]
    finally:
        if ended < workers:
            stop.set()
        for thread in threads:
            thread.join()


def answers(questions: Sequence[Callable[[], Answer]], *, workers: int, stop: threading.Event) -> list[Answer]:
    """The answer to each question, in their order, several at once.

    Raises:
        Whatever a question raises; those that were not asked yet are left then.
    """

    def numbered(index: int) -> Generator[tuple[int, Answer]]:
        yield index, questions[index]()

    found = dict(in_parallel([partial(numbered, index) for index in range(len(questions))], workers=workers, stop=stop))
    return [found[index] for index in range(len(questions))]
