"""The fuzz run in a tiny form, and the sight of its judges: each sees the fault that it is there for."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments import export_fuzz
from experiments.export_fuzz import corpus, mutated, numbers_of_text, numbers_of_workbook, one


def named(name: str) -> Any:
    return next(case for case in corpus() if case.name == name)


def run(case: Any, folder: Path, numbers: range) -> tuple[Counter[str], list[dict[str, str]]]:
    counts: Counter[str] = Counter()
    faults: list[dict[str, str]] = []
    for number in numbers:
        one(case, number, folder, counts, faults)
    return counts, faults


@pytest.mark.parametrize("name", ["wide, thousands points", "Proficy sections", "PI DataLink", "Parquet, long"])
def test_a_few_mutated_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    counts, faults = run(named(name), tmp_path, range(12))
    assert faults == []
    assert counts["read: done"] + counts["read: refused"] == 12


def test_an_error_that_is_none_of_ours_is_counted_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: Any, folder: Path) -> list[float]:
        raise KeyError("slip")

    monkeypatch.setattr(export_fuzz, "read", broken)
    counts, faults = run(named("wide, UTC"), tmp_path, range(1, 3))
    assert counts["tracebacks"] == 2
    assert faults[0]["error"] == "KeyError: 'slip'"


@pytest.mark.parametrize("name", ["wide, UTC", "PI DataLink", "Parquet, long"])
def test_a_value_that_stands_nowhere_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(export_fuzz, "read", lambda case, folder: [246.0])
    counts, _ = run(named(name), tmp_path, range(1, 9))
    assert counts["values not in the file"] >= 1


def test_a_case_that_takes_too_long_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_fuzz, "LIMIT_S", 0.0)
    assert run(named("wide, UTC"), tmp_path, range(1, 3))[0]["hangs"] == 2


def test_numbers_are_found_in_every_notation() -> None:
    text = "time;A\n2024-05-01;1.234,5\n;\u22122,5e3\n;1'000\n".encode("utf-16")
    assert {1234.5, -2500.0, 1000.0} <= numbers_of_text(text)
    assert 246.0 not in numbers_of_text(text)
    assert {81.25, 1201.5} & (numbers_of_workbook(named("PI DataLink").files["unit 2.xlsx"]) or set()) == {81.25}


def test_mutations_are_the_same_for_the_same_seed_and_change_something() -> None:
    import numpy as np

    data = b"time,A\n2024-05-01T06:00:00Z,12.5\n"
    found = [mutated(data, np.random.default_rng([0, n])) for n in range(50)]
    assert found == [mutated(data, np.random.default_rng([0, n])) for n in range(50)]
    assert sum(each != data for each in found) > 40
    assert math.isclose(len(set(found)), 50, rel_tol=0.2)
