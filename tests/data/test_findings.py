"""Planted faults are found where they were put, and a clean record of the reference plant stays quiet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from procmodel.data import Dataset, condition
from procmodel.data.dataset import microseconds
from procmodel.data.findings.archive import Spacing, honest_step
from procmodel.data.findings.check import Check, Fault, Finding, check
from procmodel.data.findings.clocks import clock_shifts
from procmodel.data.findings.drift import drifts
from procmodel.data.findings.raw import Raw, collect
from procmodel.data.historians import open_historian
from procmodel.data.samples import Quality, Query
from procmodel.plant import Plant, load_plant
from procmodel.simulation import record, reference_plant

ROWS = 8000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    plant: Plant
    dataset: Dataset
    raw: dict[str, Raw]

    def spoilt(self, name: str, at: slice, values: np.ndarray | float) -> Record:
        """The same with other values of a tag in some rows of the grid."""
        changed = self.dataset.values.copy()
        changed[at, self.dataset.columns.index(name)] = values
        return dataclasses.replace(self, dataset=dataclasses.replace(self.dataset, values=changed))

    def column(self, name: str) -> np.ndarray:
        return self.dataset.values[:, self.dataset.columns.index(name)].copy()

    def resampled(self, name: str, times: np.ndarray, values: np.ndarray, repeated: int = 0) -> Record:
        """The same with other raw samples of a tag."""
        return dataclasses.replace(self, raw={**self.raw, name: Raw(times=times, values=values, repeated=repeated)})

    def check(self) -> Check:
        return check(self.plant, self.dataset, self.raw)


def read(plant: Plant) -> Record:
    historian = open_historian(plant)
    dataset = condition(plant, historian)
    raw = collect(historian.read(Query(tags=tuple(plant.columns))), plant.columns, Quality.GOOD)
    return Record(plant=plant, dataset=dataset, raw=raw)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder: Path = tmp_path_factory.mktemp("record")
    return read(load_plant(record(reference_plant("quadruple-tank"), rows=ROWS, seed=3, folder=folder).plant_file))


def found(record: Record, fault: Fault) -> list[Finding]:
    return [each for each in record.check().findings if each.fault is fault]


def row_of(record: Record, finding: Finding) -> float:
    assert finding.start is not None
    return (microseconds(finding.start) - microseconds(record.dataset.start)) / 1e6 / record.dataset.step


def test_a_clean_record_raises_no_alarm_but_its_one_real_outage(clean: Record) -> None:
    told = clean.check()
    assert {each.fault for each in told.findings} <= {Fault.GAP}
    assert told.response is not None
    assert told.reason == ""


def test_a_sensor_that_stands_still_is_stuck_from_where_it_stops(clean: Record) -> None:
    spoilt = clean.spoilt("LI102.PV", slice(3000, 3300), float(clean.column("LI102.PV")[3000]))
    (stuck,) = found(spoilt, Fault.STUCK)
    assert stuck.tag == "LI102.PV"
    assert row_of(clean, stuck) == pytest.approx(3000, abs=1)
    assert "300 rows" in stuck.text


def test_a_sensor_that_stands_at_the_end_of_its_range_is_saturated_and_not_stuck(clean: Record) -> None:
    span = clean.plant.tags["LI101.PV"].range
    assert span is not None
    spoilt = clean.spoilt("LI101.PV", slice(2000, 2080), span[1])
    (finding,) = found(spoilt, Fault.SATURATED)
    assert (finding.tag, row_of(clean, finding)) == ("LI101.PV", pytest.approx(2000, abs=1))
    assert "high end" in finding.text
    assert not found(spoilt, Fault.STUCK)


def test_one_wild_sample_is_a_spike(clean: Record) -> None:
    raw = clean.raw["LI101.PV"]
    values = raw.values.copy()
    values[5000] += 3.0
    (spike,) = found(clean.resampled("LI101.PV", raw.times, values), Fault.SPIKE)
    assert (spike.tag, spike.start and microseconds(spike.start)) == ("LI101.PV", raw.times[5000])
    assert spike.text.startswith("1 spike,")


def test_a_tag_that_goes_over_to_metres_is_told_with_the_conversion(clean: Record) -> None:
    raw = clean.raw["LI101.PV"]
    values = np.where(np.arange(len(raw.values)) < 6000, raw.values, raw.values / 100)
    (change,) = found(clean.resampled("LI101.PV", raw.times, values), Fault.UNIT)
    assert (change.tag, change.start and microseconds(change.start)) == ("LI101.PV", raw.times[6000])
    assert "cm to m" in change.text


def related(rows: int = 6000, tags: int = 5, seed: int = 0) -> np.ndarray:
    """Sensors of one wandering process, each with its own gain and noise, [T, C]."""
    rng = np.random.default_rng(seed)
    cause = np.zeros(rows)
    for t in range(1, rows):
        cause[t] = 0.95 * cause[t - 1] + rng.normal()
    return np.stack([(1 + c) * cause + 0.5 * rng.normal(size=rows) for c in range(tags)], axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_related_sensors_that_are_sound_neither_drift_nor_shift(seed: int) -> None:
    values = related(seed=seed)
    assert drifts(values) == []
    assert clock_shifts(values, 10.0) == []


def test_a_sensor_that_creeps_away_drifts_and_no_other() -> None:
    values = related()
    change = 2 * float(values[:, 2].std())
    values[:, 2] += np.linspace(0, change, len(values))
    (drift,) = drifts(values)
    assert drift.column == 2
    assert drift.change == pytest.approx(change, rel=0.1)


def test_a_clock_that_jumps_is_told_by_the_other_tags() -> None:
    values = related()
    values[3000:, 1] = values[2960:-40, 1].copy()
    (shift,) = clock_shifts(values, 10.0)
    assert (shift.column, shift.rows) == (1, 40)
    assert abs(shift.at - 3000) <= 750  # half a block of six times the longest lag, 250 rows


def test_the_check_names_what_related_tags_tell(clean: Record) -> None:
    values = related(rows=ROWS, tags=len(clean.plant.columns))[: clean.dataset.rows]
    cv, aux = (clean.dataset.columns.index(name) for name in ("LI102.PV", "TI900.PV"))
    values[:, cv] += np.linspace(0, 2 * float(values[:, cv].std()), len(values))
    values[4000:, aux] = values[3960 : len(values) - 40, aux].copy()
    told = dataclasses.replace(clean, dataset=dataclasses.replace(clean.dataset, values=values)).check().findings
    assert [each.tag for each in told if each.fault is Fault.DRIFT] == ["LI102.PV"]
    (shift,) = [each for each in told if each.fault is Fault.CLOCK]
    assert (shift.tag, "200 s late" in shift.text) == ("TI900.PV", True)


def test_an_outage_is_a_gap_and_repeated_stamps_are_counted(clean: Record) -> None:
    spoilt = clean.spoilt("LI103.PV", slice(100, 150), np.nan)
    assert any(g.tag == "LI103.PV" for g in found(spoilt, Fault.GAP))
    raw = clean.raw["LI103.PV"]
    (repeated,) = found(clean.resampled("LI103.PV", raw.times, raw.values, repeated=7), Fault.REPEATED)
    assert repeated.text.startswith("7 samples")


def test_a_thinned_record_is_not_honest_on_a_grid_as_fine(clean: Record) -> None:
    raw = clean.raw["LI101.PV"]
    (finding,) = found(clean.resampled("LI101.PV", raw.times[::30], raw.values[::30]), Fault.COMPRESSED)
    assert finding.tag == "LI101.PV"
    assert "not 5 s" in finding.text


def test_what_is_invented_is_the_time_in_rows_without_a_sample() -> None:
    spacing = Spacing()
    spacing.add(np.full(100, 60_000_000))  # a sample a minute
    assert spacing.invented(10.0) == pytest.approx(5 / 6, abs=0.01)
    assert spacing.invented(60.0) == pytest.approx(0.0, abs=0.03)
    assert honest_step(spacing, 10.0) == pytest.approx(50.0)  # a sixth
    assert spacing.invented(10.0, longest=30.0) == 0.0  # gaps invent nothing


def test_raw_samples_are_told_apart_by_tag_and_repeated_stamps_are_counted(small_plant: Plant) -> None:
    import pyarrow as pa

    from procmodel.data.samples import SCHEMA

    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(["A", "B", "A", "A", "A"]).dictionary_encode(),
            pa.array([1, 1, 1, 2, 3]).cast(SCHEMA.field("time").type),
            pa.array([1.0, 5.0, 2.0, None, 4.0]),
            pa.nulls(5, pa.int64()),
            pa.array([0, 0, 0, 0, 2], pa.int8()),
            pa.nulls(5, pa.string()),
        ],
        schema=SCHEMA,
    )
    raw = collect([batch], ["A", "B"], Quality.GOOD)
    assert (raw["A"].times.tolist(), raw["A"].values.tolist(), raw["A"].repeated) == ([1], [1.0], 1)
    assert raw["B"].values.tolist() == [5.0]
