"""`check` and `ingest --update` as commands, on a small export with a spike and an outage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from procmodel.data import load_dataset

PLANT = """\
name: small
sample_time: 10 s
history: {kind: csv, path: export*.csv}
tags:
  FC1.SP: {role: MV, unit: kg/h, limits: [0, 100]}
  LI1.PV: {role: CV, unit: cm, range: [0, 100], max_gap: 1 min, setpoint: 50}
"""


def export(path: Path, rows: range) -> None:
    rng = np.random.default_rng(0)
    lines, level, valve = ["time,FC1.SP,LI1.PV"], 50.0, 50.0
    for row in range(rows.stop):
        valve = float(np.clip(50 + 10 * rng.normal(), 10, 90)) if rng.random() < 0.05 else valve
        level += 0.1 * (valve - level) + 0.05 * rng.normal()
        stamp = (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=10 * row)).isoformat()
        shown = "Bad" if 400 <= row < 430 else f"{99.0 if row == 600 else level + 0.1 * rng.normal():.3f}"
        if row in rows:
            lines.append(f"{stamp},{valve:.3f},{shown}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "plant.yaml").write_text(PLANT, encoding="utf-8")
    export(tmp_path / "export1.csv", range(900))
    return tmp_path


def test_check_lists_what_is_wrong_and_writes_one_page(
    place: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    done = command("check", place / "plant.yaml", "--out", place / "out", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert [(each["fault"], each["tag"]) for each in told["findings"]] == [("gap", "LI1.PV"), ("spike", "LI1.PV")]
    assert told["findings"][1]["start"] == "2026-03-01T01:40:00+00:00"
    assert list(told["response"]) == ["FC1.SP -> LI1.PV"]
    page = Path(told["page"]).read_text(encoding="utf-8")
    assert "1 spike, the farthest to 99 cm" in page
    assert page.count("<svg") >= 4
    assert not re.search(r'(src|href)="https?:', page)  # it opens on a plant network
    plain = command("check", place / "plant.yaml", "--out", place / "out")
    assert "2 findings in 899 rows." in plain.stdout


def test_an_updated_dataset_is_the_one_of_a_fresh_ingest(
    place: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    assert command("ingest", place / "plant.yaml", "--out", place / "grown").returncode == 0
    export(place / "export2.csv", range(900, 1000))
    done = command(
        "ingest", place / "plant.yaml", "--out", place / "grown", "--update", "--overlap", "10 min", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert command("ingest", place / "plant.yaml", "--out", place / "fresh").returncode == 0
    grown, fresh = load_dataset(place / "grown" / "dataset"), load_dataset(place / "fresh" / "dataset")
    assert fresh.rows == 999
    np.testing.assert_array_equal(grown.values, fresh.values)


def test_an_update_takes_no_range(place: Path, command: Callable[..., CompletedProcess[str]]) -> None:
    done = command("ingest", place / "plant.yaml", "--update", "--start", "2026-03-01T00:00:00Z")
    assert done.returncode == 2
    assert "leave out --start and --end" in done.stderr
