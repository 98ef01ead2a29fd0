"""The export, read back by the shortest code that can, against what the sensors said."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from procmodel.plant import load_plant
from procmodel.simulation import REFERENCE_PLANTS, Archive, operate, record, reference_plant
from procmodel.simulation.operation import CLOCK_CHANGE
from procmodel.simulation.sensors import scans

ROWS, SEED = 5000, 3
ZURICH = ZoneInfo("Europe/Zurich")


def read_back(recorded):
    """Samples by tag: (ms from the start, value or None); the repeated hour by the order of each tag's lines."""
    samples, before = {}, {}
    for path in recorded.files:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                local, tag = datetime.fromisoformat(line["time"]), line["tag"]
                second = (local < before.get(tag, (local, 0))[0]) or before.get(tag, (local, 0))[1]
                before[tag] = (local, int(second))
                fold = 1 if second and local.date() == CLOCK_CHANGE.date() else 0
                moment = local.replace(tzinfo=ZURICH, fold=fold).astimezone(UTC)
                value = float(line["value"]) if line["quality"] == "Good" else None
                samples.setdefault(tag, []).append(
                    (round((moment - recorded.start) / timedelta(milliseconds=1)), value)
                )
    return samples


@pytest.fixture(scope="module", params=REFERENCE_PLANTS)
def recorded(request, tmp_path_factory):
    reference = reference_plant(request.param)
    return reference, record(reference, rows=ROWS, seed=SEED, folder=tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def samples(recorded):
    return read_back(recorded[1])


def test_every_tag_is_recorded_from_start_to_end_in_rising_time(recorded, samples):
    reference, made = recorded
    assert set(samples) == set(reference.plant.columns)
    longest = Archive().longest * made.run.step * 1000
    for name, points in samples.items():
        times = np.array([time for time, _ in points])
        assert (np.diff(times) >= 0).all(), name
        assert times[0] == 0
        assert times[-1] >= ROWS * made.run.step * 1000 - longest


def test_every_good_value_is_what_the_sensor_said_at_that_moment(recorded, samples):
    reference, made = recorded
    archive = Archive()
    said = scans(reference, made.run, seed=SEED, per_row=archive.scans_per_row, jitter=archive.jitter)
    for name, signal in said.items():
        by_time = dict(zip(signal.times.tolist(), signal.values.tolist(), strict=True))
        good = [(time, value) for time, value in samples[name] if value is not None]
        assert len(good) > ROWS / 20
        for time, value in good:
            assert value == pytest.approx(by_time[time], rel=1e-5)


def test_between_recorded_values_the_line_stays_within_the_compression_deviation(recorded, samples):
    reference, made = recorded
    archive = Archive()
    said = scans(reference, made.run, seed=SEED, per_row=archive.scans_per_row, jitter=archive.jitter)
    for name, signal in said.items():
        low, high = reference.plant.tags[name].range
        deviation = archive.deviation * (high - low)
        assert deviation < reference.noise[reference.plant.columns.index(name)]  # small against the noise
        points, checked, seen = samples[name], 0, np.searchsorted
        for (t0, v0), (t1, v1) in pairwise(points):
            if v0 is None or v1 is None or t1 == t0:
                continue
            part = slice(seen(signal.times, t0), seen(signal.times, t1, side="right"))
            line = v0 + (v1 - v0) * (signal.times[part] - t0) / (t1 - t0)
            assert np.abs(line - signal.values[part]).max() <= deviation * 1.0001 + 1e-4 * abs(v0)
            checked += part.stop - part.start
        assert checked > 1.8 * ROWS


def test_the_archive_left_something_out(recorded, samples):
    reference, _ = recorded
    scanned = ROWS * Archive().scans_per_row
    assert min(len(samples[name]) for name in [*reference.plant.cvs, *reference.plant.dvs]) < 0.95 * scanned


def test_moves_are_exact_in_value_and_time(recorded, samples):
    reference, made = recorded
    middles = 1000.0 * made.run.step * (np.arange(ROWS) + 0.5)
    for i, name in enumerate(reference.plant.mvs):
        times = np.array([time for time, _ in samples[name]])
        values = np.array([np.nan if value is None else value for _, value in samples[name]])
        held = values[np.searchsorted(times, middles, side="right") - 1]
        good = np.isfinite(held)
        assert good.mean() > 0.85
        assert held[good] == pytest.approx(made.run.u[good, i], rel=1e-6)


def test_the_repeated_hour_is_in_the_record_twice(recorded):
    _, made = recorded
    assert made.start < CLOCK_CHANGE < made.end
    hours = {}
    for path in made.files:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                hours.setdefault(line["tag"], []).append(line["time"])
    for stamps in hours.values():
        back = [(a, b) for a, b in pairwise(stamps) if b < a]
        assert len(back) == 1
        assert back[0][0] < "2025-10-26 03:00"
        assert back[0][1] >= "2025-10-26 02:00"


def test_the_outage_takes_all_tags_for_about_an_hour(recorded, samples):
    reference, made = recorded
    first, last = ((moment - made.start) / timedelta(milliseconds=1) for moment in made.outage)
    assert last - first == pytest.approx(min(3600e3, 0.1 * ROWS * made.run.step * 1000), rel=0.01)
    for name in reference.plant.columns:
        inside = [value for time, value in samples[name] if first <= time < last]
        assert inside
        assert set(inside) == {None}


def test_bad_samples_and_repeated_lines_are_there(recorded):
    reference, made = recorded
    lines = [line for path in made.files for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    bad = [line.split(",") for line in lines if line.endswith(",Bad")]
    assert {tag for tag, *_ in bad} == set(reference.plant.columns)
    assert "I/O Timeout" in {value for _, _, value, _ in bad}
    assert len({value for _, _, value, _ in bad}) > 1
    assert len(lines) > len(set(lines))


def test_scans_average_to_what_the_operator_saw(recorded):
    reference, made = recorded
    said = scans(reference, made.run, seed=SEED, per_row=2, jitter=0.6)
    for name in reference.plant.dvs:
        by_row = said[name].values[:-1].reshape(ROWS, 2).mean(axis=1)
        assert by_row == pytest.approx(made.run.rows[:, reference.plant.columns.index(name)], rel=1e-12)
    for i, name in enumerate(reference.plant.cvs):
        noise = said[name].values[:-1].reshape(ROWS, 2).mean(axis=1) - made.run.y[:, i]
        seen = made.run.rows[:, reference.plant.columns.index(name)] - made.run.y[:, i]
        assert np.corrcoef(noise, seen)[0, 1] > 0.9  # a gas turbine moves within a row too


def test_labels_are_few_and_true_up_to_the_laboratorys_error(recorded):
    reference, made = recorded
    for g, (head, path) in enumerate(made.labels.items()):
        with path.open(newline="", encoding="utf-8") as file:
            labels = list(csv.DictReader(file))
        assert 30 <= len(labels) <= 40
        errors = []
        for label in labels:
            moment = datetime.fromisoformat(label["time"])
            assert moment.utcoffset() is not None
            at = (moment - made.start).total_seconds()
            row = int(at // made.run.step)
            assert at == (row + 1) * made.run.step - 1
            errors.append(float(label["margin"]) - made.run.margins[row, g])
        assert np.abs(errors).max() < 4.5 * reference.lab_error[head]
        assert np.std(errors) > 0.5 * reference.lab_error[head]


def test_the_copied_plant_file_leads_to_the_export(recorded):
    reference, made = recorded
    plant = load_plant(made.plant_file)
    assert plant.fingerprint == reference.plant.fingerprint
    assert sorted(made.plant_file.parent.glob("exports/*.csv")) == sorted(made.files)
    assert {head: one.labels for head, one in plant.constraints.items()} == {h: str(p) for h, p in made.labels.items()}


def test_the_record_is_of_the_run_that_operate_gives(recorded):
    reference, made = recorded
    assert np.array_equal(made.run.rows, operate(reference, rows=ROWS, seed=SEED).rows)


def test_the_same_seed_leaves_the_same_bytes_and_clears_an_earlier_record(tmp_path):
    reference = reference_plant("evaporator")
    record(reference, rows=15000, seed=1, folder=tmp_path / "a")
    first = record(reference, rows=400, seed=2, folder=tmp_path / "a")
    again = record(reference, rows=400, seed=2, folder=tmp_path / "b")

    def contents(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(first.files) == len(again.files)
