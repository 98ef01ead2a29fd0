"""`head fit`: a head learned anew beside a model that stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np

from procmodel.plant import load_plant
from procmodel.training.artifact import load_artifact

Command = Callable[..., CompletedProcess[str]]


def label(site: Path, count: int, *, told: str = "margin") -> None:
    """The distance of the level from 58 cm, read off every third minute of the export."""
    lines = [line.split(",") for line in (site / "export.csv").read_text(encoding="utf-8").splitlines()[1:]]
    good = [(stamp, float(level)) for stamp, _, level in lines[60::18] if level != "Bad"][:count]
    noise = 0.2 * np.random.default_rng(0).normal(size=len(good))
    rows = []
    for (stamp, level), off in zip(good, noise, strict=True):
        time = datetime.fromisoformat(stamp) + timedelta(seconds=5)
        rows.append(f"{time.isoformat()},{58 - level + off if told == 'margin' else int(level > 50)}")
    (site / "foaming.csv").write_text("\n".join([f"time,{told}", *rows]) + "\n", encoding="utf-8")


def with_constraints(site: Path, *constraints: str) -> Path:
    plant = site / "plant.yaml"
    lines = "\n".join(f"  {each}" for each in constraints)
    plant.write_text(plant.read_text(encoding="utf-8") + f"constraints:\n{lines}\n", encoding="utf-8")
    return plant


def test_a_head_is_learned_without_touching_the_model_and_the_artifact_stays_whole(
    command: Command, site: Path
) -> None:
    plant = with_constraints(
        site,
        "foaming: {labels: foaming.csv, unit: cm}",
        "froth: {labels: foaming.csv, kind: logistic, rank: 1}",
    )
    label(site, 36)
    before = {path.name: path.read_bytes() for path in (site / "out" / "model").iterdir()}
    done = command("head", "fit", plant, "foaming", "--out", site / "out", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["labels"], facts["unit"], facts["replaced"]) == (36, "cm", None)
    assert facts["skill"] > 0.8
    assert (facts["campaigns"], facts["left_out"]) == (1, "blocks of time")
    assert len(facts["allowance_by_row"]) == 12  # two minutes of ten seconds
    after = {path.name: path.read_bytes() for path in (site / "out" / "model").iterdir()}
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"model.json", "manifest.json"}  # the weights are the same to the last bit
    for kind_of in ("froth", "foaming"):  # several heads at once, and one learned a second time
        assert command("head", "fit", plant, kind_of, "--out", site / "out").returncode in (0, 2)
    artifact = load_artifact(site / "out" / "model", load_plant(plant))
    assert artifact.heads[0].name == "foaming"


def test_learning_one_head_again_leaves_the_others_and_the_weights_byte_for_byte(command: Command, site: Path) -> None:
    plant = with_constraints(
        site, "foaming: {labels: foaming.csv, unit: cm}", "froth: {labels: froth.csv, unit: cm, confidence: 0.8}"
    )
    label(site, 36)
    (site / "froth.csv").write_bytes((site / "foaming.csv").read_bytes())
    for name in ("foaming", "froth"):
        assert command("head", "fit", plant, name, "--out", site / "out").returncode == 0
    folder = site / "out" / "model"
    weights = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    before = json.loads((folder / "model.json").read_bytes())
    label(site, 20)  # of foaming alone
    told = command("head", "fit", plant, "foaming", "--out", site / "out")
    assert told.returncode == 0, told.stderr
    assert "foaming: 20 labels" in told.stdout
    assert "before: 36 labels" in told.stdout
    assert "of another campaign nothing is known" in told.stdout
    after = json.loads((folder / "model.json").read_bytes())
    assert weights
    assert {path.name: path.read_bytes() for path in folder.glob("*.safetensors")} == weights
    assert json.dumps(after["heads"][1]) == json.dumps(before["heads"][1])
    assert (after["heads"][0]["labels"], before["heads"][0]["labels"]) == (20, 36)
    for facts in (before, after):
        del facts["heads"], facts["notes"]["remarks"]
    assert after == before


def test_a_head_that_cannot_be_learned_leaves_the_model_as_it_was(command: Command, site: Path) -> None:
    plant = with_constraints(site, "foaming: {labels: foaming.csv}")
    label(site, 5)
    before = {path.name: path.read_bytes() for path in (site / "out" / "model").iterdir()}
    done = command("head", "fit", plant, "foaming", "--out", site / "out")
    assert done.returncode == 2
    assert "at least 9 labelled samples" in done.stderr
    assert {path.name: path.read_bytes() for path in (site / "out" / "model").iterdir()} == before
    unknown = command("head", "fit", plant, "froth", "--out", site / "out")
    assert unknown.returncode == 2
    assert "has no constraint 'froth'; known: foaming" in unknown.stderr


def test_events_are_labels_too(command: Command, site: Path) -> None:
    plant = with_constraints(site, "froth: {labels: foaming.csv, kind: logistic}")
    label(site, 40, told="event")
    done = command("head", "fit", plant, "froth", "--out", site / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["form"].startswith("logistic on ")
