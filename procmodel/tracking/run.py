"""Runs, parameters, curves and files in MLflow.

SQLite beside the outputs by default, a server where `MLFLOW_TRACKING_URI` names one. Metrics and files only: models are
stored by the artifact as safetensors and logged as files, never through MLflow's own model formats, which can run code.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from procmodel.errors import InputError
from procmodel.tracking.provenance import environment

T = TypeVar("T")
_log = logging.getLogger("procmodel.tracking")

# What a first answer may take; the libraries' own defaults are 120 s, seven times over.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
# Of MLflow, per call.
_MOST_PARAMS, _MOST_METRICS, _LONGEST_PARAM = 100, 1000, 6000


class Run:
    """One run. What cannot be logged once it has begun is told once and then left: a training of hours does not die of
    a tracking server."""

    def __init__(self, client: Any, experiment: str, run_id: str) -> None:
        self._client, self._experiment, self.id = client, experiment, run_id
        self._told = False

    def params(self, values: Mapping[str, Any]) -> None:
        """Settings; a nested mapping is logged as `outer.inner`."""
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in _flat(values)]
        for at in range(0, len(flat), _MOST_PARAMS):
            self._try("params", lambda at=at: self._client.log_batch(self.id, params=flat[at : at + _MOST_PARAMS]))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Figures at a step of a curve; what is not finite is left out, since not every store can hold it."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        flat = [Metric(key, float(value), now, step) for key, value in _flat(values) if math.isfinite(float(value))]
        for at in range(0, len(flat), _MOST_METRICS):
            self._try("metrics", lambda at=at: self._client.log_batch(self.id, metrics=flat[at : at + _MOST_METRICS]))

    def tags(self, values: Mapping[str, Any]) -> None:
        """Words about the run, such as hashes."""
        from mlflow.entities import RunTag

        flat = [RunTag(key, str(value)) for key, value in _flat(values)]
        self._try("tags", lambda: self._client.log_batch(self.id, tags=flat))

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file, or all files of a folder."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._try("files", lambda: log(self.id, str(path), folder or None))

    @contextmanager
    def run(
        self, name: str, *, params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
    ) -> Iterator[Run]:
        """A run within this one; it ends as finished, failed or, on Ctrl-C, killed. Where it cannot be opened, this run
        takes what was meant for it."""
        made: list[Run] = []
        self._try("a nested run", lambda: made.append(_create(self._client, self._experiment, name, self.id)))
        if not made:
            yield self
            return
        with _ending(made[0]) as child:
            child.params(params or {})
            child.tags(tags or {})
            yield child

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED."""
        self._try("the end of the run", lambda: self._client.set_terminated(self.id, status))

    def _try(self, what: str, log: Any) -> None:
        try:
            log()
        except Exception as error:  # the store's own exceptions share no base: MLflow, requests, SQLAlchemy, OSError
            if not self._told:
                _log.warning(
                    "Tracking: %s could not be logged in run %s (%s); going on without.",
                    what,
                    self.id,
                    _in_short(error),
                )
            self._told = True


class Tracker:
    """Opens the store and one run that holds all others; ends it on the way out.

        with Tracker(out, experiment=plant.name, name="train", tags={"plant": plant.fingerprint}) as run:
            run.params(...)
            with run.run("training") as training:
                training.metrics({"train/loss": 0.3}, step=1)

    Args:
        out: Folder of the outputs; `mlflow.db` and `mlflow-files` appear there where no server is named.
        uri: Tracking server or database; None: `MLFLOW_TRACKING_URI`, else SQLite in `out`.
        parent: Run that it is a part of, such as the training of the model that is evaluated.

    Raises:
        InputError: On entering, where the store cannot be reached; so before any work.
    """

    def __init__(
        self,
        out: Path,
        *,
        experiment: str,
        name: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        uri: str | None = None,
        parent: str | None = None,
    ) -> None:
        self.uri, self.local = store_of(out, uri)
        self._out, self._experiment, self._name, self._parent = out, experiment, name, parent
        self._params, self._tags = params or {}, {**environment(), **(tags or {})}

    def __enter__(self) -> Run:
        if self.local:
            with suppress(OSError):  # told below, where the store is opened
                self._out.mkdir(parents=True, exist_ok=True)

        def open_run(client: Any) -> Run:
            return _create(client, self._experiment_id(client), self._name, self._parent)

        run = with_client(self.uri, self.local, open_run, writes=True)
        self._opened = _ending(run)
        self._opened.__enter__()
        run.tags(self._tags)
        run.params(self._params)
        self._monitor = _monitor(run.id, self.uri)
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        self._opened.__exit__(kind, error, trace)

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        files = (self._out / "mlflow-files").resolve().as_uri() if self.local else None
        return str(client.create_experiment(self._experiment, artifact_location=files))


def store_of(out: Path, uri: str | None = None) -> tuple[str, bool]:
    """Where runs are kept: the named store, `MLFLOW_TRACKING_URI`, or else SQLite in `out`; whether it is the last."""
    named = uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    return named or f"sqlite:///{(out / 'mlflow.db').resolve()}", not named


def with_client(uri: str, local: bool, act: Callable[[Any], T], *, writes: bool = False) -> T:
    """`act(client)` on the store, without its libraries' talk.

    Raises:
        InputError: It cannot be reached, or not be written to where it has to be.
    """
    if local:
        _require_open(uri, writes)
    os.environ.update(_NO_TELEMETRY)
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    with _quiet():
        from mlflow import MlflowClient

        try:
            return act(MlflowClient(tracking_uri=uri, registry_uri=uri))
        except Exception as error:  # as in Run._try
            raise InputError(_unreachable(uri, local, error)) from None


def _require_open(uri: str, writes: bool) -> None:
    """Of a file that cannot be opened MLflow prints pages, and tries again for minutes."""
    file = Path(uri.removeprefix("sqlite:///"))
    try:
        if not file.exists() and not os.access(file.parent, os.W_OK | os.X_OK):
            raise PermissionError(f"{file.parent} cannot be written to")
        if file.exists():
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as store:
                store.execute("BEGIN IMMEDIATE" if writes else "SELECT count(*) FROM sqlite_master")
    except (OSError, sqlite3.Error) as error:
        raise InputError(_unreachable(uri, True, error)) from None


def _unreachable(uri: str, local: bool, error: Exception) -> str:
    if local:
        mend = "Make the folder writable, or move a damaged mlflow.db away."
    else:
        mend = "Start it, correct MLFLOW_TRACKING_URI, or unset that to log beside the outputs."
    return f"Tracking store {_without_password(uri)} cannot be used ({_in_short(error)}). {mend} Nothing was begun."


def _monitor(run_id: str, uri: str) -> Any:
    """Load of processor, memory, disk and network, sampled into the run; None where this machine tells nothing."""
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
        monitor.start()
        return monitor
    except Exception as error:  # as in Run._try
        _log.warning("Tracking: the load of this machine is not recorded (%s).", _in_short(error))
        return None


def _create(client: Any, experiment: str, name: str, parent: str | None = None) -> Run:
    tags = {"mlflow.parentRunId": parent} if parent else {}
    return Run(client, experiment, client.create_run(experiment, run_name=name, tags=tags).info.run_id)


@contextmanager
def _ending(run: Run) -> Iterator[Run]:
    """Ends a run in the way its work ended."""
    try:
        yield run
    except KeyboardInterrupt:
        run.end("KILLED")
        raise
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


@contextmanager
def _quiet() -> Iterator[None]:
    """Making the tables tells of dozens of migrations and of what its libraries will drop; none is about the plant."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def _in_short(error: Exception) -> str:
    """First line of an error, without credentials."""
    lines = str(error).strip().splitlines()
    return _without_password(lines[0])[:300] if lines else type(error).__name__


def _without_password(text: str) -> str:
    """Addresses in a text without their credentials."""
    return re.sub(r"://[^/@\s]+@", "://", text)
