"""The registry: models under the plant's name, the alias `champion`, and the runs that trained and judged them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from procmodel.errors import InputError
from procmodel.tracking.run import Run, store_of, with_client

ALIAS = "champion"
RESULTS = "results.json"
"""Of an evaluation, among its files."""
_PARENT = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The model that the alias stands at.

    Attributes:
        version: Of the registered model.
        model: Hash of its files.
        run: The evaluation that made it champion.
    """

    version: str
    model: str
    run: str


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run, for people.

    Attributes:
        kind: train, dataset, training or evaluate.
        parent: Run that it is a part of; "" for none.
    """

    id: str
    plant: str
    kind: str
    status: str
    began: datetime | None
    parent: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    champion: bool = False


class Registry:
    """What a store knows of models and runs.

    Args:
        out, uri: As for `Tracker`.
    """

    def __init__(self, out: Path, uri: str | None = None) -> None:
        self.uri, self.local = store_of(out, uri)
        self._out = out

    @property
    def exists(self) -> bool:
        """Whether there is anything to read; a server is asked, a local store is a file."""
        return not self.local or (self._out / "mlflow.db").is_file()

    def champion(self, plant: str) -> Champion | None:
        """The plant's champion; None where there is none yet."""

        def find(client: Any) -> Champion | None:
            known = client.search_registered_models(f"name = '{plant}'")
            version = dict(known[0].aliases).get(ALIAS) if known else None
            if version is None:
                return None
            tags = client.get_model_version(plant, version).tags
            return Champion(version=str(version), model=tags.get("model", ""), run=tags.get("evaluated_by", ""))

        return with_client(self.uri, self.local, find)

    def crown(self, plant: str, run: Run, model: str, folder: str = "model") -> str:
        """Move the alias to the model that an evaluation has logged in `folder`; its version, as before where it is
        known already."""

        def move(client: Any) -> str:
            if not client.search_registered_models(f"name = '{plant}'"):
                client.create_registered_model(plant)
            known = [v for v in client.search_model_versions(f"name = '{plant}'") if v.tags.get("model") == model]
            if known:
                version = str(known[0].version)
            else:
                source = f"{client.get_run(run.id).info.artifact_uri}/{folder}"
                made = client.create_model_version(plant, source, run_id=run.id, tags={"model": model})
                version = str(made.version)
            client.set_model_version_tag(plant, version, "evaluated_by", run.id)
            client.set_registered_model_alias(plant, ALIAS, version)
            return version

        return with_client(self.uri, self.local, move, writes=True)

    def trained_by(self, plant: str, model: str) -> str | None:
        """The run that trained a model, by the hash of its files; None where this store does not know it."""
        return next((run.id for run in self.runs() if run.plant == plant and run.kind == "train"
                     and run.tags.get("model") == model), None) if self.exists else None  # fmt: skip

    def runs(self) -> list[RunFacts]:
        """All runs, newest first."""

        def find(client: Any) -> list[RunFacts]:
            names = {each.experiment_id: each.name for each in client.search_experiments()}
            crowned = {v for each in client.search_registered_models() for v in self._crowned(client, each)}
            found: list[RunFacts] = []
            token: str | None = ""
            while token is not None and names:
                page = client.search_runs(
                    list(names), page_token=token or None, order_by=["attributes.start_time DESC"]
                )
                found += [_facts(run, names[run.info.experiment_id], run.info.run_id in crowned) for run in page]
                token = page.token
            return found

        return with_client(self.uri, self.local, find) if self.exists else []

    def results(self, run: str) -> dict[str, Any]:
        """What an evaluation found.

        Raises:
            InputError: The run kept no results.
        """

        def load(client: Any) -> dict[str, Any] | None:
            if RESULTS not in [file.path for file in client.list_artifacts(run)]:
                return None
            with tempfile.TemporaryDirectory() as folder:
                found: dict[str, Any] = json.loads(Path(client.download_artifacts(run, RESULTS, folder)).read_text())
                return found

        found = with_client(self.uri, self.local, load)
        if found is None:
            raise InputError(f"Run {run} kept no {RESULTS}. Name an evaluation: 'procmodel runs' lists them.")
        return found

    @staticmethod
    def _crowned(client: Any, registered: Any) -> list[str]:
        version = dict(registered.aliases).get(ALIAS)
        return [] if version is None else [client.get_model_version(registered.name, version).tags["evaluated_by"]]


def _facts(run: Any, plant: str, champion: bool) -> RunFacts:
    began = None if run.info.start_time is None else datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return RunFacts(
        id=run.info.run_id,
        plant=plant,
        kind=run.info.run_name,
        status=run.info.status,
        began=began,
        parent=run.data.tags.get(_PARENT, ""),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags={key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        champion=champion,
    )
