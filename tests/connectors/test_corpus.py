"""Every export of the corpus, read as its plant file describes it, holds what was written into it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from corpus import CASES, Case, Expected

from connectors.csv_files import CsvHistorian
from connectors.excel_files import ExcelHistorian
from connectors.parquet_files import ParquetHistorian
from connectors.record import TableHistorian
from procmodel.data.samples import Query
from procmodel.plant import History

KINDS = {"csv": CsvHistorian, "excel": ExcelHistorian, "parquet": ParquetHistorian}
EXCEL_ROUNDS = timedelta(milliseconds=1)  # days as floating-point numbers


def write(case: Case, folder: Path) -> Path:
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    return folder


def samples(historian: TableHistorian, tags: tuple[str, ...]) -> dict[str, list[Expected]]:
    found: dict[str, list[Expected]] = {tag: [] for tag in tags}
    for batch in historian.read(Query(tags=tags)):
        for row in batch.to_pylist():
            found[row["tag"]].append(Expected(row["time"], row["value"], row["quality"], row["state"]))
    return found


def assert_same(found: dict[str, list[Expected]], case: Case) -> None:
    assert found.keys() == case.expected.keys()
    for tag, wanted in case.expected.items():
        got = found[tag]
        assert [(e.value, e.quality, e.state) for e in got] == [(e.value, e.quality, e.state) for e in wanted], tag
        away = [abs(g.time - w.time) for g, w in zip(got, wanted, strict=True)]
        assert max(away) <= (EXCEL_ROUNDS if case.kind == "excel" else timedelta(0)), tag


def test_the_corpus_is_large_and_no_two_cases_are_called_the_same() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_export_is_read_as_it_was_written(case: Case, tmp_path: Path) -> None:
    history = History(kind=case.kind, path=case.path, timezone=case.timezone, options=dict(case.options))
    historian = KINDS[case.kind](history, {}, base=write(case, tmp_path))
    assert {info.name for info in historian.search()} == case.expected.keys()
    assert_same(samples(historian, tuple(case.expected)), case)
    for field, said in case.report.items():
        assert getattr(historian.report, field) == said, field
