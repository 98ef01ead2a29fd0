"""An artifact comes back bit by bit, or not at all; and nothing in it can run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_plants import tiny_plant

import procmodel.training.artifact as artifact_module
from procmodel.constraints.head import ConstraintHead
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ArtifactError
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact, Calibration, load_artifact, save_artifact
from procmodel.world_model.correction import LastingTrust, Trust
from procmodel.world_model.latent_model import LatentModel, ModelConfig

AGAIN = r"Train it again with 'procmodel train'\."


def member(seed: int) -> LatentModel:
    """Every weight and buffer random, float32 as training leaves it."""
    torch.manual_seed(seed)
    model = LatentModel(
        ModelConfig(columns=Columns.of(tiny_plant()), rows=8, lags=7, state=3, latent=4, hidden=8)
    ).requires_grad_(False)
    for value in model.state_dict().values():
        value.copy_(torch.randn_like(value))
    return model


def head() -> ConstraintHead:
    rng = np.random.default_rng(0)
    return ConstraintHead(
        name="foaming", unit="%", rank=2, linear_D=rng.normal(size=7), offset=0.1,
        directions_QD=rng.normal(size=(2, 7)), centre_Q=rng.normal(size=2),
        curvature_QQ=rng.normal(size=(2, 2)), allowance_now=0.2,
        allowance_H=np.array([0.2, 0.3]), confidence=0.9, labels=20, error=0.1, skill=0.8, form="curved",
    )  # fmt: skip


@pytest.fixture
def artifact() -> Artifact:
    plant, rng = tiny_plant(), np.random.default_rng(1)
    return Artifact(
        plant=plant.name,
        fingerprint=plant.fingerprint,
        members=(member(0), member(1)),
        scaler=Scaler(
            centre=rng.normal(size=5), spread=rng.uniform(0.1, 9, size=5), bend=np.array([0, 0, 0.1, -0.2, 0])
        ),
        calibration=Calibration(
            backoff_HY=rng.uniform(size=(10, 2)),
            surprise_limit=0.1 + 0.2,
            confidence=0.9,
            error_covariance_YY=rng.uniform(size=(2, 2)),
            trust=Trust(
                gain_HY=rng.uniform(size=(10, 2)),
                usual_HY=rng.uniform(size=(10, 2)),
                lasting=LastingTrust(memory=7, gain_HY=rng.uniform(size=(10, 2)), ratio_HY=rng.uniform(size=(10, 2))),
            ),
        ),
        heads=(head(),),
        notes={"curves": [1.5, 2.5], "origin": "ä"},
    )


def bits(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_round_trip_changes_no_bit(artifact: Artifact, tmp_path: Path) -> None:
    save_artifact(artifact, tmp_path / "model")
    again = load_artifact(tmp_path / "model", tiny_plant())
    assert len(again.members) == 2
    for mine, theirs in zip(again.members, artifact.members, strict=True):
        assert mine.config == theirs.config
        assert mine.state_dict().keys() == theirs.state_dict().keys()
        for name, value in mine.state_dict().items():
            assert value.dtype == torch.float64
            assert torch.equal(value, theirs.state_dict()[name].double()), name
    np.testing.assert_array_equal(again.scaler.centre, artifact.scaler.centre)
    np.testing.assert_array_equal(again.scaler.spread, artifact.scaler.spread)
    np.testing.assert_array_equal(np.array(again.scaler.bend), np.array(artifact.scaler.bend))
    np.testing.assert_array_equal(again.calibration.backoff_HY, artifact.calibration.backoff_HY)
    assert again.calibration.surprise_limit == 0.1 + 0.2
    assert again.calibration.trust is not None
    assert artifact.calibration.trust is not None
    np.testing.assert_array_equal(again.calibration.trust.gain_HY, artifact.calibration.trust.gain_HY)
    np.testing.assert_array_equal(again.calibration.trust.usual_HY, artifact.calibration.trust.usual_HY)
    long, stored = again.calibration.trust.lasting, artifact.calibration.trust.lasting
    assert long is not None
    assert stored is not None
    assert long.memory == 7
    np.testing.assert_array_equal(long.gain_HY, stored.gain_HY)
    np.testing.assert_array_equal(long.ratio_HY, stored.ratio_HY)
    np.testing.assert_array_equal(again.calibration.error_covariance_YY, artifact.calibration.error_covariance_YY)
    assert again.heads[0].to_dict() == artifact.heads[0].to_dict()
    assert (again.plant, again.fingerprint, again.notes) == (artifact.plant, artifact.fingerprint, artifact.notes)
    assert again.model is again.members[0]


def test_what_was_loaded_is_saved_to_the_same_bytes(artifact: Artifact, tmp_path: Path) -> None:
    save_artifact(artifact, tmp_path / "one")
    save_artifact(load_artifact(tmp_path / "one", tiny_plant()), tmp_path / "two")
    assert bits(tmp_path / "one") == bits(tmp_path / "two")


def test_a_loaded_model_is_ready_to_advise(artifact: Artifact, tmp_path: Path) -> None:
    model = load_artifact(save_artifact(artifact, tmp_path / "model"), tiny_plant()).model
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_one_flipped_byte_anywhere_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    folder = save_artifact(artifact, tmp_path / "model")
    whole, rng = bits(folder), np.random.default_rng(0)
    names = sorted(whole)
    ends = np.cumsum([len(whole[name]) for name in names])
    for place in rng.integers(0, ends[-1], 200):
        which = int(np.searchsorted(ends, place, side="right"))
        name, at = names[which], int(place - (ends[which] - len(whole[names[which]])))
        flipped = bytearray(whole[name])
        flipped[at] ^= 1 << int(rng.integers(8))
        (folder / name).write_bytes(flipped)
        with pytest.raises(ArtifactError, match=rf"{name} is damaged.*{AGAIN}"):
            load_artifact(folder, tiny_plant())
        (folder / name).write_bytes(whole[name])
    assert load_artifact(folder, tiny_plant()).notes == artifact.notes


def test_missing_extra_and_linked_files_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    folder = save_artifact(artifact, tmp_path / "model")
    shutil.copy(folder / "member-0.safetensors", tmp_path / "kept")
    (folder / "member-2.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match=rf"'member-2.safetensors' is not part of it\. {AGAIN}"):
        load_artifact(folder, tiny_plant())
    (folder / "member-2.safetensors").unlink()
    (folder / "member-0.safetensors").unlink()
    with pytest.raises(ArtifactError, match=rf"'member-0.safetensors' is missing\. {AGAIN}"):
        load_artifact(folder, tiny_plant())
    (folder / "member-0.safetensors").symlink_to(tmp_path / "kept")
    with pytest.raises(ArtifactError, match=rf"is a link or no plain file\. {AGAIN}"):
        load_artifact(folder, tiny_plant())


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=rf"No world model in .*nowhere\. {AGAIN}"):
        load_artifact(tmp_path / "nowhere", tiny_plant())


def with_changed_unit(plant: Plant) -> Plant:
    tag = plant.tags["Y2"].model_copy(update={"unit": "Pa"})
    return plant.model_copy(update={"tags": {**plant.tags, "Y2": tag}})


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (tiny_plant(name="huge"), r"learned from plant 'tiny', not 'huge'"),
        (
            with_changed_unit(tiny_plant()),
            r"a tag, role, unit, step flag or the sample time of plant 'tiny' has changed",
        ),
        (tiny_plant().model_copy(update={"sample_time": 6.0}), r"the sample time of plant 'tiny' has changed"),
    ],
)
def test_the_artifact_of_another_plant_is_refused_with_the_reason(
    artifact: Artifact, tmp_path: Path, other: Plant, why: str
) -> None:
    folder = save_artifact(artifact, tmp_path / "model")
    with pytest.raises(ArtifactError, match=rf"does not fit: .*{why}.*{AGAIN}"):
        load_artifact(folder, other)


@pytest.mark.parametrize("which", [1, 2])
def test_an_interrupted_save_leaves_the_artifact_that_was_there(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    folder = save_artifact(artifact, tmp_path / "model")
    before, rename, calls = bits(folder), os.rename, 0

    def interrupted(*args: str) -> None:
        nonlocal calls
        calls += 1
        if calls == which:
            raise KeyboardInterrupt
        rename(*args)

    monkeypatch.setattr(os, "rename", interrupted)
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(replace(artifact, notes={"new": True}), folder)
    monkeypatch.undo()
    assert bits(folder) == before
    assert load_artifact(folder, tiny_plant()).notes == artifact.notes
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_save_killed_between_its_renames_leaves_the_artifact_that_was_there(
    artifact: Artifact, tmp_path: Path
) -> None:
    folder = save_artifact(artifact, tmp_path / "model")
    folder.rename(tmp_path / ".model.previous")
    assert load_artifact(folder, tiny_plant()).notes == artifact.notes
    save_artifact(replace(artifact, notes={"new": True}), folder)
    assert load_artifact(folder, tiny_plant()).notes == {"new": True}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_holds_something_else_is_left_alone(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="holds no world model; nothing was changed"):
        save_artifact(artifact, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_number_that_is_none_is_not_stored(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_artifact(replace(artifact, notes={"loss": float("nan")}), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_only_json_and_safetensors_lie_in_it(artifact: Artifact, tmp_path: Path) -> None:
    found = bits(save_artifact(artifact, tmp_path / "model"))
    assert sorted(found) == ["manifest.json", "member-0.safetensors", "member-1.safetensors", "model.json"]
    for name, content in found.items():
        if name.endswith(".json"):
            json.loads(content)
        else:  # eight bytes of length, a JSON header, then nothing but the numbers it lists
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            assert {entry["dtype"] for entry in header.values()} == {"F32"}
            assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - 8 - length


def test_no_line_on_the_way_to_advice_unpickles_anything() -> None:
    package = Path(artifact_module.__file__).parents[1]
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert len(sources) > 50
    for path, source in sources.items():
        for word in ("import pickle", "cloudpickle", "joblib", "torch.load", "torch.save", "allow_pickle=True"):
            assert word not in source, f"{path} has {word!r}"


def test_the_machine_of_a_control_room_loads_it_without_lightning(artifact: Artifact, tmp_path: Path) -> None:
    save_artifact(artifact, tmp_path / "model")
    (tmp_path / "plant.json").write_text(tiny_plant().model_dump_json(), encoding="utf-8")
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['pytorch_lightning', 'mlflow']))\n"
        "from procmodel.plant import Plant\n"
        "from procmodel.training.artifact import load_artifact\n"
        "plant = Plant.model_validate_json(open('plant.json').read())\n"
        "print(len(load_artifact('model', plant).members))"
    )
    root = Path(artifact_module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "2", done.stderr


def test_an_artifact_whose_scales_are_all_straight_says_nothing_of_roots(artifact: Artifact, tmp_path: Path) -> None:
    """As one of an earlier release does."""
    straight = dataclasses.replace(artifact, scaler=artifact.scaler.straight)
    save_artifact(straight, tmp_path / "model")
    assert "bend" not in json.loads((tmp_path / "model" / "model.json").read_text())["scaler"]
    assert load_artifact(tmp_path / "model", tiny_plant()).scaler.bend is None


def test_an_artifact_of_0_1_weighs_each_cv_by_its_own_spread(artifact: Artifact, tmp_path: Path) -> None:
    plain = dataclasses.replace(artifact.calibration, error_covariance_YY=None)
    save_artifact(dataclasses.replace(artifact, calibration=plain), tmp_path / "model")
    assert load_artifact(tmp_path / "model", tiny_plant()).calibration.error_covariance_YY is None
