"""One recorder to a folder; a source that keeps telling is started in tests/connectors/test_recording.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from procmodel import cli
from procmodel.commands.record import alone_in
from procmodel.errors import HistorianError


def test_a_second_recorder_in_one_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with alone_in(tmp_path / "record"):
        said = r"Another recorder is writing to .*record\. End it"
        with pytest.raises(HistorianError, match=said), alone_in(tmp_path / "record"):
            pass
        with alone_in(tmp_path / "other"):
            pass
    with alone_in(tmp_path / "record"):
        pass


def test_a_source_that_cannot_be_followed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = {
        "name": "p",
        "sample_time": "10 s",
        "history": {"kind": "csv", "path": "x.csv"},
        "tags": {"A": {"role": "MV", "unit": "1"}, "B": {"role": "CV", "unit": "1"}},
    }
    (tmp_path / "plant.yaml").write_text(json.dumps(plant))
    monkeypatch.setattr(sys, "argv", ["procmodel", "record", str(tmp_path / "plant.yaml"), "--into", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "history.kind 'csv' is a record that is read; it cannot be followed" in capsys.readouterr().err
