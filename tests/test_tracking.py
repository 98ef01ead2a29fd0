"""Tracking: what was logged is there again, and a store that is not there is told before the work."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from procmodel.errors import InputError
from procmodel.tracking import Tracker, code_version
from procmodel.tracking.run import store_of, with_client


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making the tables takes seconds: once for all tests here."""
    return tmp_path_factory.mktemp("runs")


def client(out: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")


def test_nested_runs_keep_their_params_curves_tags_and_files(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    with Tracker(out, experiment="tanks", name="train", tags={"data": "ab12"}) as whole:
        whole.params({"training": {"latent": 16, "hidden": 64}, "long": "x" * 10_000})
        with whole.run("dataset", params={"rows": 100}):
            pass
        with whole.run("training") as training:
            training.metrics({"train": {"loss": 2.0}, "bad": float("nan")}, 0)
            training.metrics({"train": {"loss": 1.0}}, 1)
            training.artifact(tmp_path / "model", "model")
    store = client(out)
    run = store.get_run(whole.id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.latent"] == "16"
    assert (run.data.tags["data"], run.data.tags["procmodel"]) == ("ab12", code_version())
    children = store.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{whole.id}'")
    assert {child.info.run_name for child in children} == {"dataset", "training"}
    curve = store.get_metric_history(training.id, "train.loss")
    assert [(point.step, point.value) for point in curve] == [(0, 2.0), (1, 1.0)]
    assert "bad" not in store.get_run(training.id).data.metrics
    assert [file.path for file in store.list_artifacts(training.id, "model")] == ["model/model.json"]
    assert (out / "mlflow-files").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # nothing beside the outputs


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_says_so_with_all_it_holds(out: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), Tracker(out, experiment="tanks", name="train") as whole, whole.run("training") as inner:
        raise error
    assert {client(out).get_run(run.id).info.status for run in (whole, inner)} == {status}


def test_a_server_that_does_not_answer_is_one_error_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    begun, start = [], time.monotonic()
    with (
        pytest.raises(InputError, match=r"cannot be used.*MLFLOW_TRACKING_URI.*Nothing was begun") as caught,
        Tracker(tmp_path, experiment="tanks", name="train"),
    ):
        begun.append(1)
    assert not begun
    assert time.monotonic() - start < 30
    assert "secret" not in str(caught.value)
    assert f"http://127.0.0.1:{port}" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file stands in the way")
    with (
        pytest.raises(InputError, match="Make the folder writable"),
        Tracker(tmp_path / "runs", experiment="e", name="n"),
    ):
        pass


@pytest.mark.parametrize("what", ["a folder", "no database"])
def test_a_store_that_cannot_be_opened_is_one_error_at_once(
    tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "mlflow.db"
    store.mkdir() if what == "a folder" else store.write_text("no database at all" * 100)
    with pytest.raises(InputError, match=r"mlflow\.db cannot be used .* Make the folder writable, or move a damaged"):
        with_client(*store_of(tmp_path), lambda client: client.search_experiments())
    assert capfd.readouterr() == ("", "")


def test_a_store_that_another_process_writes_to_can_be_read(out: Path) -> None:
    with Tracker(out, experiment="reading", name="train"), closing(sqlite3.connect(out / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        found = with_client(*store_of(out), lambda client: client.get_experiment_by_name("reading"))
        other.rollback()
    assert found.name == "reading"


def test_a_store_lost_on_the_way_is_told_once_and_stops_no_training(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("server went away")

    with caplog.at_level(logging.WARNING, "procmodel.tracking"), Tracker(out, experiment="tanks", name="t") as whole:
        monkeypatch.setattr(whole._client, "log_batch", lost)
        monkeypatch.setattr(whole._client, "create_run", lost)
        with whole.run("training", params={"latent": 16}) as training:
            for step in range(3):
                training.metrics({"loss": 1.0}, step)
    assert [record.getMessage() for record in caplog.records] == [
        f"Tracking: a nested run could not be logged in run {whole.id} (server went away); going on without."
    ]


def test_nothing_is_printed_and_telemetry_is_off(tmp_path: Path) -> None:
    """In a process of its own, since MLflow is quiet or loud from its import on; on a new store."""
    program = (
        "import pathlib, os\n"
        "from procmodel.tracking import Tracker\n"
        f"with Tracker(pathlib.Path({str(tmp_path)!r}), experiment='e', name='n') as run: run.metrics({{'a': 1.0}})\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_") and k != "DO_NOT_TRACK"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
