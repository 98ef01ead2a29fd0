"""`record`: a live source into Parquet files, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from procmodel.commands.progress import Progress
from procmodel.data.follow import follow
from procmodel.data.historians import open_live
from procmodel.data.live_record import LiveRecord
from procmodel.errors import HistorianError
from procmodel.plant import Plant

_ENDS = (signal.SIGINT, signal.SIGTERM)


def folder_of(plant: Plant) -> Path:
    """`runs/<plant name>/record` below the current folder."""
    return Path("runs") / plant.name / "record"


def record(
    plant: Plant, folder: Path, progress: Progress, *, last: float | None, rotate: float, every: float
) -> dict[str, Any]:
    """Follow the plant's live source into `folder`, and say what was recorded.

    Args:
        last: End after so long [s]; None: at Ctrl-C.
        rotate: Begin a new file after so long [s].
        every: How long samples may wait until they are on the disk [s].
    """
    open_live(plant)  # a source that cannot be followed is told before the folder is made
    with alone_in(folder):
        return _recorded(plant, LiveRecord(folder, plant, rotate=rotate), progress, last=last, every=every)


def _recorded(
    plant: Plant, kept: LiveRecord, progress: Progress, *, last: float | None, every: float
) -> dict[str, Any]:
    live = open_live(plant, kept.newest)
    bridges = bool(getattr(live, "bridges", False))
    if kept.resumed and not bridges:
        kept.open_gap()
    began = time.monotonic()

    def told(record: LiveRecord) -> None:
        rate = record.samples / max(time.monotonic() - began, 1e-3)
        newest = max(record.newest.values()).isoformat(timespec="seconds") if record.newest else "none"
        words = f"{rate:,.3g} samples/s, {len(record.newest)} of {len(plant.columns)} tags, newest {newest}, samples:"
        progress.step(record.samples, 0, words)

    with _ended_by_signals() as stop:
        progress.stage("record", f"Recording {plant.name} into {kept.folder}")
        follow(live, kept, stop, every=every, last=last, told=told)
    seconds = time.monotonic() - began
    report = live.report
    return {
        "plant": plant.name,
        "folder": str(kept.folder),
        "files": [file.name for file in kept.files],
        "began": kept.began.isoformat(timespec="seconds"),
        "resumed": kept.resumed,
        "bridged": kept.resumed and bridges,
        "seconds": seconds,
        "samples": kept.samples,
        "samples_per_s": kept.samples / seconds,
        "bad": report.bad,
        "uncertain": report.uncertain,
        "out_of_range": report.out_of_range,
        "unsorted": report.unsorted,
        "reconnections": report.retries,
        "newest": {name: at.isoformat() for name, at in sorted(kept.newest.items())},
        "silent": [name for name in plant.columns if name not in kept.newest],
        "notes": list(report.notes),
    }


def tell(facts: dict[str, Any]) -> None:
    """For people."""
    print(
        f"{facts['samples']:,} samples in {facts['seconds']:.0f} s ({facts['samples_per_s']:.3g}/s), {facts['bad']:,} "
        f"of them bad; {len(facts['newest'])} tags, {facts['reconnections']} reconnections."
    )
    if facts["silent"]:
        print(f"Without any sample: {', '.join(facts['silent'])}")
    for note in facts["notes"]:
        print(note)
    print(f"Record: {facts['folder']}")
    print(f"Read it with: procmodel ingest PLANT --recorded {facts['folder']} --start {facts['began']}")


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or whoever ends the process kindly; a second time they end it at once."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def end(number: int, _frame: Any) -> None:
        stop.set()
        print("procmodel: ending; what has come is written.", file=sys.stderr, flush=True)
        signal.signal(number, before[signal.Signals(number)])

    for each in _ENDS:
        before[each] = signal.signal(each, end)
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder for one recorder; whoever dies lets go of it.

    Raises:
        HistorianError: Another one holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HistorianError(
                f"Another recorder is writing to {folder.absolute()}. End it, or name another folder with --into."
            ) from error
        yield
