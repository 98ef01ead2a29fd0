"""Damaged exports: files of the corpus, mutated byte by byte, are read, or refused in one sentence.

Each case takes an export of `tests/connectors/corpus`, changes some of its bytes (flips, cuts, doubled or moved parts,
digits for digits, bytes that mean something to a reader of tables; half of the workbooks are changed inside their
archive), and reads it as its plant file says; every eighth is also handed to the shape finder of `procmodel init`.
Counted are errors that are none of ours, cases that take longer than `LIMIT_S`, and values that stand nowhere in the
file. The last are told by code that shares nothing with the reader: every cell that the text can be cut into, in every
notation; for a workbook the numbers in its XML; for Parquet what polars' own reader finds.

Run: python -m experiments.export_fuzz [--json] [--quick]
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import math
import re
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from connectors.csv_files import CsvHistorian
from connectors.excel_files import ExcelHistorian
from connectors.parquet_files import ParquetHistorian
from experiments.contract import Outcome, run_experiment
from procmodel.data.exports import sniff
from procmodel.data.samples import Query
from procmodel.errors import ProcmodelError
from procmodel.plant import History

CASES_RUN, QUICK = 20_000, 400
SEED = 0
LIMIT_S = 5.0  # a file of the corpus is read in milliseconds
KINDS: dict[str, Any] = {"csv": CsvHistorian, "excel": ExcelHistorian, "parquet": ParquetHistorian}
TELLING = b"\x00\xff\xfe\"'\n\r\t;,.|-+ 0123456789eE:/[]=#*NaNinf\xe2\x88\x92\xa0\xb0"


def corpus() -> Sequence[Any]:
    """The cases of the corpus, which lie beside the tests."""
    folder = str(Path(__file__).resolve().parents[1] / "tests" / "connectors")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from corpus import CASES

    return CASES


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """With one change in most cases, else up to six; more leave nothing that can be read."""
    found = bytearray(data)
    for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 7))):
        if not found:
            break
        at, size = int(rng.integers(len(found))), int(rng.integers(1, 24))
        piece = bytes(found[at : at + size])
        match int(rng.integers(10)):
            case 0:
                found[at] ^= 1 << int(rng.integers(8))
            case 1:
                found[at] = int(rng.integers(256))
            case 2:
                found[at] = TELLING[int(rng.integers(len(TELLING)))]
            case 3:
                found[at:at] = bytes([TELLING[int(rng.integers(len(TELLING)))]])
            case 4:
                del found[at : at + size]
            case 5:
                found[at:at] = piece
            case 6:
                to = int(rng.integers(len(found)))
                found[to : to + size] = piece
            case 7 | 8:
                digits = [n for n, byte in enumerate(found) if 48 <= byte <= 57]
                if digits:
                    found[int(rng.choice(digits))] = b"0123456789.,-e"[int(rng.integers(14))]
            case _:
                if rng.random() < 0.2:
                    del found[at:]
                else:
                    del found[at]
    return bytes(found)


def mutated_inside(data: bytes, rng: np.random.Generator) -> bytes:
    """A workbook with one of its members changed and packed again."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        sheets = [name for name in names if "sheet" in name.lower()]
        chosen = str(rng.choice(sheets if rng.random() < 0.7 else names))
        for name in names:
            content = old.read(name)
            new.writestr(name, mutated(content, rng) if name == chosen else content)
    return held.getvalue()


def numbers_of_text(data: bytes) -> set[float]:
    """Every number that a cell of the text could be, however it is encoded, cut and written."""
    found = few_numbers_of_text(data)
    for text in _decodings(data):
        for delimiter in ",;\t|":
            with contextlib.suppress(csv.Error):
                for row in csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter):
                    found.update(number for cell in row for number in _readings(cell))
        for cell in re.split(r'[,;\t|\r\n"]', text):
            found.update(_readings(cell))
        # A quote that was put in or lost lets a reader see cells that run over others.
        for cell in re.split(r"[;\t|\r\n]", text.replace('"', "")):
            found.update(_readings(cell))
    return found


def few_numbers_of_text(data: bytes) -> set[float]:
    """Those that are found at once: most files hold all of theirs in plain sight."""
    text = next(_decodings(data))
    return {number for cell in set(re.split(r'[;\t|\r\n"]|,', text)) for number in _readings(cell)}


def _decodings(data: bytes) -> Iterator[str]:
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark):
            yield data.decode(encoding, errors="ignore")
    yield data.decode("cp1252", errors="ignore")
    if 0 in data[:2]:
        yield data.decode("utf-16-le", errors="ignore")
        yield data.decode("utf-16-be", errors="ignore")


def _readings(cell: str) -> Iterator[float]:
    plain = cell.strip().replace("\u2212", "-").strip("\"'")
    if not re.search(r"\d", plain) or len(plain) > 60:
        return
    bare = re.sub(r"['\u2019 \u00a0\u2009\u202f]", "", plain)
    for text in {plain, bare, bare.replace(",", ""), bare.replace(".", "").replace(",", "."), bare.replace(",", ".")}:
        if "_" not in text:
            with contextlib.suppress(ValueError):
                yield float(text)


def numbers_of_workbook(data: bytes) -> set[float] | None:
    """Every number between the marks of its XML, and 0 and 1 for its truths."""
    found = {0.0, 1.0}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            for name in book.namelist():
                text = book.read(name).decode("utf-8", errors="ignore")
                for cell in re.split(r"<[^>]*>|[<>\"]", text):
                    found.update(_readings(cell))
    except Exception:  # an archive that zipfile cannot read, but the reader can: nothing to compare with
        return None
    return found


def numbers_of_parquet(data: bytes) -> set[float] | None:
    """What polars' own reader finds."""
    found: set[float] = set()
    try:
        frame = pl.read_parquet(io.BytesIO(data), use_pyarrow=False)
        for column in frame.get_columns():
            if column.dtype.is_numeric():
                found.update(column.cast(pl.Float64).drop_nulls().to_list())
            elif column.dtype == pl.String:
                found.update(number for cell in column.drop_nulls().to_list() for number in _readings(cell))
    except BaseException as error:  # Rust panics are no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return None
    return found


NUMBERS: dict[str, Callable[[bytes], set[float] | None]] = {
    "csv": numbers_of_text,
    "excel": numbers_of_workbook,
    "parquet": numbers_of_parquet,
}


def read(case: Any, folder: Path, number: int) -> list[float]:
    """All values of the case's tags; of every fourth file, of the tags that it names now."""
    history = History(kind=case.kind, path="*", timezone=case.timezone, options=dict(case.options))
    historian = KINDS[case.kind](history, {}, base=folder)
    tags = tuple(case.expected) if number % 4 else tuple(info.name for info in historian.search())
    values: list[float] = []
    for batch in historian.read(Query(tags=tags)):
        values += [value for value in batch.column("value").to_pylist() if value is not None]
    return values


def one(case: Any, number: int, folder: Path, counts: Counter[str], faults: list[dict[str, str]]) -> float:
    """One mutated export, read and judged; how long it took [s]."""
    rng = np.random.default_rng([SEED, number])
    name = str(rng.choice(sorted(case.files)))
    files = dict(case.files)
    inside = case.kind == "excel" and rng.random() < 0.5
    files[name] = mutated_inside(files[name], rng) if inside else mutated(files[name], rng)
    for old in folder.iterdir():
        old.unlink()
    for each, content in files.items():
        (folder / each).write_bytes(content)
    began = time.process_time()  # of the processor: other work on the machine is no hang
    values: list[float] = []
    for step, act in (("read", lambda: values.extend(read(case, folder, number))), ("sniff", lambda: sniff(folder))):
        if step == "sniff" and number % 8:
            continue
        try:
            act()
            counts[f"{step}: done"] += 1
        except ProcmodelError as error:
            counts[f"{step}: refused"] += 1
            if "\n" in str(error).strip():
                counts["refusals of several lines"] += 1
        except BaseException as error:  # Rust panics are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            counts["tracebacks"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            said, place = f"{type(error).__name__}: {str(error)[:200]}", f"{Path(where.filename).name}:{where.lineno}"
            faults.append({"case": case.name, "number": str(number), "step": step, "error": said, "at": place})
    seconds = time.process_time() - began
    counts["hangs"] += seconds > LIMIT_S
    counts["values"] += len(values)
    if values:
        _judge(case, number, files, values, counts, faults)
    return seconds


def _judge(
    case: Any,
    number: int,
    files: dict[str, bytes],
    values: list[float],
    counts: Counter[str],
    faults: list[dict[str, str]],
) -> None:
    allowed: set[float] = set()
    if case.kind == "csv":
        allowed = {each for content in files.values() for each in few_numbers_of_text(content)}
        if all(value in allowed for value in values):
            return
    for content in files.values():
        found = NUMBERS[case.kind](content)
        if found is None:
            counts["values without a second reader"] += len(values)
            return
        allowed |= found
    strange = [value for value in values if value not in allowed or not math.isfinite(value)]
    if strange:
        counts["values not in the file"] += len(strange)
        faults.append({"case": case.name, "number": str(number), "step": "values", "error": f"{strange[:5]}", "at": ""})


def study(quick: bool) -> Outcome:
    """Mutated exports: no traceback, no hang, no value that is not in the file."""
    cases, runs = corpus(), QUICK if quick else CASES_RUN
    counts: Counter[str] = Counter()
    faults: list[dict[str, str]] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the second readers
        for number in range(runs):
            slowest = max(slowest, one(cases[number % len(cases)], number, Path(folder), counts, faults))
            if number % 1000 == 999:
                print(f"{number + 1} of {runs}: {len(faults)} faults", file=sys.stderr, flush=True)
    values = {
        "tracebacks": float(counts["tracebacks"]),
        "hangs": float(counts["hangs"]),
        "values_not_in_the_file": float(counts["values not in the file"]),
    }
    told = dict(sorted(counts.items()))
    results = {
        "files": runs,
        "exports": len(cases),
        "slowest_s": round(slowest, 3),
        "counts": told,
        "faults": faults[:40],
    }
    lines = [f"{runs} mutated files of {len(cases)} exports", *(f"  {key}: {count}" for key, count in told.items())]
    lines += [str(fault) for fault in faults[:20]]
    return Outcome(values=values, results=results, seeds=[SEED], lines=lines)


if __name__ == "__main__":
    raise SystemExit(run_experiment("export_fuzz", study))
