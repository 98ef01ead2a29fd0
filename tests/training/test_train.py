"""From a record to an artifact, and what stops on the way leaves to go on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import training_plants
from training_plants import START, STEP, tiny_plant, tiny_record

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns
from procmodel.errors import CollapsedError
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.prepare import Prepared, linear_states, parts_of, prepare
from procmodel.training.train import train
from procmodel.world_model.answers import Backbone, step_answers
from procmodel.world_model.latent_model import LatentModel

EPOCH = 10  # batches


class Stopped:
    """A progress callback that notes the steps, and stops the run at one of them."""

    def __init__(self, at: int = 10**9) -> None:
        self.at, self.seen = at, list[tuple[int, int, str]]()

    def __call__(self, done: int, total: int, what: str) -> None:
        self.seen.append((done, total, what))
        if done == self.at:
            raise KeyboardInterrupt


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    return artifact.model.state_dict()


def same_weights(one: Artifact, other: Artifact) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Four epochs without a stop."""
    return train(tiny_record(), tiny_plant(epochs=4), tmp_path_factory.mktemp("through"))


# ---- from end to end


@pytest.mark.slow
def test_a_record_becomes_an_artifact_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    plant, told, curves = tiny_plant(members=2), Stopped(), list[tuple[dict[str, float], int]]()
    artifact = train(tiny_record(), plant, tmp_path, progress=told, log=lambda *at: curves.append(at))
    assert [step for step, _, _ in told.seen] == list(range(1, 2 * 2 * EPOCH + 1))
    assert {total for _, total, _ in told.seen} == {2 * 2 * EPOCH}
    assert [what for _, _, what in told.seen][:: 2 * EPOCH] == ["training, seed 0", "training, seed 1"]
    assert [epoch for _, epoch in curves] == [0, 1, 0, 1]
    assert {name.split("/")[0] for name in curves[-1][0]} == {"member-1"}

    assert (artifact.plant, artifact.fingerprint) == ("tiny", plant.fingerprint)
    assert artifact.calibration.backoff_HY.shape == (10, 2)
    assert np.isfinite(artifact.calibration.backoff_HY).all()
    assert (artifact.calibration.backoff_HY > 0).all()
    assert np.isfinite(artifact.calibration.surprise_limit)
    one, two = artifact.members
    assert not torch.equal(one.encoder[0].weight, two.encoder[0].weight)
    assert torch.equal(one.A, two.A)

    for seed, found in enumerate(artifact.notes["members"]):
        assert found["seed"] == seed
        assert found["spread"] > 0.05
        assert found["effective_rank"] > 2
        assert found["action_use"]["real"] < 0.5 * found["action_use"]["shuffled"]
        for name in ("train/total", "train/sigreg", "validation/read_out", "validation/effective_rank"):
            assert len(found["curves"][name]) == 2, name
    assert artifact.notes["settings"]["rollout"] == 30
    assert artifact.notes["data"] == {"made.csv": "00"}
    assert artifact.notes["remarks"] == []
    assert not any(facts["moves_answer_cvs"] for facts in artifact.notes["audit"].values())

    folder = save_artifact(artifact, tmp_path / "model")
    again = load_artifact(folder, plant)
    assert same_weights(again, artifact)
    assert again.notes == artifact.notes


def test_limits_are_kept_apart_by_the_confidence_that_the_plant_file_asks_for(tmp_path: Path) -> None:
    plant, record = tiny_plant(epochs=1), tiny_record()
    surer = plant.model_copy(update={"advice": plant.advice.model_copy(update={"confidence": 0.99})})
    usual, sure = (train(record, each, tmp_path / str(each.advice.confidence)) for each in (plant, surer))
    assert (usual.calibration.confidence, sure.calibration.confidence) == (0.9, 0.99)
    assert (sure.calibration.backoff_HY > usual.calibration.backoff_HY).all()


def test_training_keeps_the_gains_that_least_squares_found_under_feedback(tmp_path: Path) -> None:
    dataset, plant = tiny_record(feedback=3.0), tiny_plant()
    artifact = train(dataset, plant, tmp_path)
    assert artifact.notes["settings"]["feedback"]
    assert artifact.notes["settings"]["rollout"] == 1
    assert artifact.notes["members"][0]["curves"]["train/anchor"][-1] < 1e-3
    model = artifact.model
    window = artifact.scaler.window(dataset.values[200:208])
    z, u, d = model.encode(window), window.values[:, -1, [0, 2]], window.values[:, -1, [4]]
    found = step_answers(model, z, u, d, 60, 0.5)[0, :, -1]
    linear = step_answers(Backbone(model), z[:, : model.config.state], u, d, 60, 0.5)[0, :, -1]
    assert (torch.sign(found) == torch.sign(linear)).all()
    assert float((found - linear).abs().max()) < 0.2 * float(linear.abs().max())


def test_a_head_comes_with_the_artifact_and_what_was_left_out_is_noted(tmp_path: Path) -> None:
    dataset, rows = tiny_record(holes=0), [3, *np.linspace(40, 1450, 30).astype(int).tolist()]
    lines = [f"{(START + timedelta(seconds=STEP * (r + 1))).isoformat()},{dataset.values[r, 1] - 79}" for r in rows]
    (tmp_path / "labels.csv").write_text("\n".join(["time,margin", *lines]))
    wish = {"foaming": {"labels": str(tmp_path / "labels.csv"), "confidence": 0.8}}
    artifact = train(dataset, tiny_plant(constraints=wish, epochs=1), tmp_path / "scratch")
    assert [head.name for head in artifact.heads] == ["foaming"]
    assert artifact.heads[0].labels == 30
    assert len(artifact.notes["remarks"]) == 1
    assert "1 of 31 labels" in artifact.notes["remarks"][0]


# ---- parts and preparation


def test_parts_lie_a_window_and_the_longest_look_ahead_apart() -> None:
    for plant, gap in (
        (tiny_plant(), 8 + 30),  # training runs free for longer than the horizon
        (tiny_plant(rollout="5 s"), 8 + 10),
        (tiny_plant(rollout="5 min"), 8 + 60),
        (tiny_plant(advice={"horizon": "4 min"}), 8 + 48),
    ):
        parts = parts_of(tiny_record(), plant)
        assert parts.validation[0].start - parts.train[0].stop == gap
        assert parts.test[0].start - parts.validation[0].stop == gap


def prepared_without(part: str) -> tuple[Prepared, Prepared]:
    """From the tiny record, and from one in which the rows of a part are spoilt."""
    dataset = tiny_record()
    spoilt = dataset.values.copy()
    for rows in getattr(parts_of(dataset, tiny_plant()), part):
        spoilt[rows.start : rows.stop] *= 100
    one, other = (
        prepare(Dataset(**{**vars(dataset), "values": values}), tiny_plant()) for values in (dataset.values, spoilt)
    )
    return one, other


def test_no_test_row_is_seen_before_training() -> None:
    one, other = prepared_without("test")
    np.testing.assert_array_equal(one.scaler.centre, other.scaler.centre)
    np.testing.assert_array_equal(one.linear.A, other.linear.A)
    assert (one.products is None) is (other.products is None)


def test_validation_rows_choose_among_states_and_fit_nothing() -> None:
    one, other = prepared_without("validation")
    np.testing.assert_array_equal(one.scaler.centre, other.scaler.centre)
    scaled, at = one.scaler.scale(tiny_record().values), Columns.of(tiny_plant())
    runs = [
        (scaled[s.start : s.stop][:, at.cv], scaled[s.start : s.stop][:, [*at.mv, *at.dv]])
        for s in parts_of(tiny_record(), tiny_plant()).train
    ]
    candidates = linear_states(runs, one.settings.rows - 1, one.settings.horizon)
    for found in (one, other):
        assert any(np.array_equal(found.linear.A, each.A) for each in candidates)


# ---- stops


@pytest.mark.slow
def test_a_run_stopped_by_hand_goes_on_as_if_it_had_not_been(through: Artifact, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_record(), tiny_plant(epochs=4), tmp_path, progress=Stopped(at=2 * EPOCH + 4))
    assert signal.getsignal(signal.SIGINT) is handler
    rest = Stopped()
    resumed = train(tiny_record(), tiny_plant(epochs=4), tmp_path, progress=rest)
    assert rest.seen[0][0] == 2 * EPOCH + 1  # two whole epochs were kept, four batches were lost
    assert rest.seen[-1][:2] == (4 * EPOCH, 4 * EPOCH)
    assert same_weights(resumed, through)
    assert resumed.notes == through.notes
    np.testing.assert_array_equal(resumed.calibration.backoff_HY, through.calibration.backoff_HY)


@pytest.mark.slow
def test_a_killed_process_loses_at_most_one_epoch_and_leaves_no_artifact(through: Artifact, tmp_path: Path) -> None:
    root = Path(training_plants.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, training_plants.__file__, str(tmp_path), str(3 * EPOCH - 1)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".ckpt"]
    rest = Stopped()
    resumed = train(tiny_record(), tiny_plant(epochs=4), tmp_path, progress=rest)
    assert rest.seen[0][0] == 2 * EPOCH + 1
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, weights(through)[name], rtol=1e-4, atol=1e-5)


def test_a_finished_member_is_not_trained_again(through: Artifact, tmp_path: Path) -> None:
    first = train(tiny_record(), tiny_plant(epochs=4), tmp_path)
    told = Stopped()
    again = train(tiny_record(), tiny_plant(epochs=4), tmp_path, progress=told)
    assert told.seen == []
    assert same_weights(again, first)
    assert same_weights(again, through)
    assert again.notes == first.notes


def cut_in_two(dataset: Dataset) -> Dataset:
    two = Stretch(name="two", start=600, stop=1500, began=START + timedelta(seconds=600 * STEP))
    return Dataset(**{**vars(dataset), "stretches": (Stretch(name="one", start=0, stop=600, began=START), two)})


@pytest.mark.parametrize(
    ("dataset", "plant"),
    [
        (tiny_record(seed=1), tiny_plant()),
        (cut_in_two(tiny_record()), tiny_plant()),
        (tiny_record(), tiny_plant(split={"validation": 0.25})),
        (tiny_record(), tiny_plant(learning_rate=5e-3)),
    ],
    ids=["other values", "other stretches", "other split", "other settings"],
)
def test_what_differs_in_anything_is_begun_anew(dataset: Dataset, plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny_record(), tiny_plant(), tmp_path, progress=Stopped(at=EPOCH + 1))
    told = Stopped(at=1)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, plant, tmp_path, progress=told)
    assert told.seen[0][0] == 1
    resumed = Stopped(at=EPOCH + 1)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_record(), tiny_plant(), tmp_path, progress=resumed)
    assert len(resumed.seen) == 1  # while the first run's epoch is still there


def test_a_stop_while_the_epoch_is_kept_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, 0

    def dies(*args: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        replace(*args)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_record(), tiny_plant(), tmp_path)
    monkeypatch.undo()
    told = Stopped()
    train(tiny_record(), tiny_plant(), tmp_path, progress=told)
    assert told.seen[0][0] == EPOCH + 1


def test_a_stop_between_two_epochs_is_a_stop_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def pressed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.utils.data._utils.fetch._IterableDatasetFetcher.__init__", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_record(), tiny_plant(), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


# ---- runs that are refused


def test_a_collapsed_run_ends_with_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_from = LatentModel.start_from

    def without_encoder(model: LatentModel, linear: object) -> None:
        start_from(model, linear)  # type: ignore[arg-type]
        for weight in model.encoder.parameters():
            torch.nn.init.zeros_(weight)

    monkeypatch.setattr(LatentModel, "start_from", without_encoder)
    with pytest.raises(CollapsedError, match=r"collapsed.*Raise training.sigreg.*nothing was stored"):
        train(tiny_record(), tiny_plant(sigreg=0, target="stop_gradient", epochs=1), tmp_path)


def test_a_run_that_diverges_ends_with_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(CollapsedError, match=r"diverged.*Lower training.learning_rate"):
        train(tiny_record(), tiny_plant(learning_rate=1e30, epochs=1), tmp_path)
