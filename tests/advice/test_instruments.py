"""Which samples are believed: against faults put into a record of which all is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from procmodel.advice.instruments import Instruments
from procmodel.data.dataset import Stretch
from procmodel.data.normal import Normal, normals_of
from procmodel.plant import Plant, Status

ROWS = 40


def plant_with(small_plant: Plant, **changes: dict[str, Any]) -> Plant:
    tags = {
        name: tag.model_copy(update=changes.get(name.replace(".", "_"), {})) for name, tag in small_plant.tags.items()
    }
    return small_plant.model_copy(update={"tags": tags})


def record(plant: Plant, rows: int = 2000) -> np.ndarray:
    """Valves moved by 2 now and then, noise of 0.1 cm, 0.2 degC, and a feed that wanders."""
    rng = np.random.default_rng(0)
    valves = 40 + 2 * np.cumsum(rng.choice([-1, 0, 1], (rows, 2), p=[0.02, 0.96, 0.02]), axis=0)
    level = 50 + 5 * np.sin(np.arange(rows) / 40) + 0.1 * rng.normal(size=rows)
    heat = 70 + 4 * np.sin(np.arange(rows) / 60) + 0.2 * rng.normal(size=rows)
    feed = 12 + np.sin(np.arange(rows) / 30) + 0.05 * rng.normal(size=rows)
    columns = {"FC1.SP": valves[:, 0], "FC2.SP": valves[:, 1], "LI1.PV": level, "TI1.PV": heat, "FI9.PV": feed}
    return np.stack([columns[name] for name in plant.columns], axis=1)


@pytest.fixture
def instruments(small_plant: Plant) -> Instruments:
    steps = [tag.is_step for tag in small_plant.tags.values()]
    whole = (Stretch(name="record", start=0, stop=2000),)
    return Instruments(plant=small_plant, normals=normals_of(small_plant.columns, steps, record(small_plant), whole))


def at(plant: Plant, name: str) -> int:
    return plant.columns.index(name)


def test_a_healthy_history_is_believed_to_the_last_sample(instruments: Instruments) -> None:
    whole = record(instruments.plant)
    for end in range(ROWS, 2000, 7):
        rows_RC = whole[end - ROWS : end]
        believed_RC, faults = instruments.judge(rows_RC)
        assert faults == {}
        np.testing.assert_array_equal(believed_RC, rows_RC)


def test_a_frozen_signal_is_a_gap_from_the_row_where_it_froze(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    rows_RC[-9:, c] = rows_RC[-10, c]
    assert instruments.judge(rows_RC)[1] == {}  # ten rows alike may be chance
    rows_RC[-12:, c] = rows_RC[-13, c]
    believed_RC, faults = instruments.judge(rows_RC)
    assert (faults["LI1.PV"].rows, np.isnan(believed_RC[:, c]).sum()) == (12, 12)
    assert "has not changed at all for 13 rows" in faults["LI1.PV"].why


def test_behind_samples_of_another_unit_a_level_is_believed_where_the_plant_has_gone_since(
    instruments: Instruments,
) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    jump = instruments.normals["LI1.PV"].jump
    rows_RC[20:, c] = rows_RC[19, c] + 2.5 * jump + 0.01 * np.arange(ROWS - 20)
    assert "jumped from" in instruments.judge(rows_RC)[1]["LI1.PV"].why  # at once no level does that
    rows_RC[20:34, c] *= 10.0  # but while it showed mm for cm, it may have
    believed_RC, faults = instruments.judge(rows_RC)
    assert faults == {}
    assert np.isnan(believed_RC[20:34, c]).all()
    assert np.isfinite(believed_RC[34:, c]).all()


def test_a_signal_that_comes_back_to_life_is_believed_where_the_plant_has_gone_since(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    rows_RC[5:38, c] = rows_RC[5, c]
    jump = instruments.normals["LI1.PV"].jump
    rows_RC[38:, c] = rows_RC[5, c] + 3.0 * jump + 0.01 * np.arange(2)
    believed_RC, faults = instruments.judge(rows_RC)
    assert faults == {}
    assert np.isnan(believed_RC[6:38, c]).all()
    assert np.isfinite(believed_RC[38:, c]).all()
    rows_RC[5:30, c] += 0.001 * np.arange(25)  # it lived until ten rows ago, and so it jumped
    assert "jumped from" in instruments.judge(rows_RC)[1]["LI1.PV"].why


def test_a_valve_that_nobody_moves_is_not_frozen(instruments: Instruments) -> None:
    rows_RC = record(instruments.plant)[100 : 100 + ROWS]
    rows_RC[:, at(instruments.plant, "FC1.SP")] = 40.0
    assert instruments.judge(rows_RC)[1] == {}


def test_a_spike_is_a_gap_of_one_row_and_forgotten_with_the_next(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    rows_RC[-1, c] += 8.0
    believed_RC, faults = instruments.judge(rows_RC)
    assert np.isnan(believed_RC[-1, c])
    assert "jumped from" in faults["LI1.PV"].why
    rows_RC[-1, c], rows_RC[-4, c] = rows_RC[-1, c] - 8.0, rows_RC[-4, c] - 8.0
    believed_RC, faults = instruments.judge(rows_RC)
    assert faults == {}
    assert np.isnan(believed_RC[:, c]).nonzero()[0].tolist() == [ROWS - 4]


def test_a_spike_in_the_oldest_row_does_not_make_liars_of_all_that_follow(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    rows_RC[0, c] += 9.0
    believed_RC, faults = instruments.judge(rows_RC)
    assert faults == {}
    assert np.isnan(believed_RC[:, c]).nonzero()[0].tolist() == [0]


def test_a_level_in_another_unit_is_never_believed_however_long_it_stays(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    for count in (1, 5, 30):
        swapped_RC = rows_RC.copy()
        swapped_RC[-count:, c] *= 10.0
        fault = instruments.judge(swapped_RC)[1]["LI1.PV"]
        assert (fault.rows, "check its instrument and its unit" in fault.why) == (count, True)


def test_a_plant_that_drifts_out_of_its_record_is_believed_on_its_way(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "LI1.PV")
    rows_RC[:, c] += np.linspace(0.0, 30.0, ROWS)  # the record spans ten
    assert instruments.judge(rows_RC)[1] == {}
    rows_RC[:, c] += 30.0  # from the first row on: nobody saw it go there
    assert "or bring the plant back" in instruments.judge(rows_RC)[1]["LI1.PV"].why


def test_a_disturbance_that_steps_is_believed_once_it_has_settled_and_a_level_is_not(instruments: Instruments) -> None:
    rows_RC = record(instruments.plant)[100 : 100 + ROWS]
    feed, level = at(instruments.plant, "FI9.PV"), at(instruments.plant, "LI1.PV")
    rows_RC[-2:, feed] += 1.5
    rows_RC[-2:, level] += 4.0
    assert set(instruments.judge(rows_RC)[1]) == {"FI9.PV", "LI1.PV"}
    rows_RC[-5:-2, feed] += 1.5
    rows_RC[-5:-2, level] += 4.0
    assert set(instruments.judge(rows_RC)[1]) == {"LI1.PV"}


def test_a_valve_that_goes_further_than_advice_may_is_waited_for(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "FC1.SP")
    rows_RC[:, c] = 40.0
    for count, held in ((1, True), (2, True), (3, False)):
        rows_RC[-count:, c] = 46.0  # max_move is 5
        believed_RC, faults = instruments.judge(rows_RC)
        assert ("FC1.SP" in faults) is held
        assert np.isfinite(believed_RC[:, c]).all()  # the model has to see it
    rows_RC[:, c], rows_RC[-3, c] = 40.0, 49.0  # one row away and back: a bad signal; the model must not see it either
    believed_RC, faults = instruments.judge(rows_RC)
    assert (np.isnan(believed_RC[:, c]).nonzero()[0].tolist(), "FC1.SP" in faults) == ([ROWS - 3], False)
    rows_RC[:, c], rows_RC[-1, c] = 46.0, 51.0
    assert instruments.judge(rows_RC)[1] == {}  # an advice may have done that


def test_validity_limits_of_the_plant_file_are_narrower_than_what_the_record_showed(small_plant: Plant) -> None:
    steps = [tag.is_step for tag in small_plant.tags.values()]
    whole = (Stretch(name="record", start=0, stop=2000),)
    narrow = plant_with(small_plant, TI1_PV={"valid": (60.0, 73.0)})
    instruments = Instruments(plant=narrow, normals=normals_of(narrow.columns, steps, record(narrow), whole))
    rows_RC = record(narrow)[100 : 100 + ROWS]
    rows_RC[-1, at(narrow, "TI1.PV")] = 73.4
    assert "believed are 60 to 73" in instruments.judge(rows_RC)[1]["TI1.PV"].why


def test_what_is_left_out_is_not_judged_and_a_tag_without_record_is_only_checked_for_gaps(small_plant: Plant) -> None:
    instruments = Instruments(plant=small_plant, normals={})
    rows_RC = record(small_plant)[:ROWS]
    rows_RC[-3:, at(small_plant, "LI1.PV")] = np.nan
    rows_RC[-3:, at(small_plant, "TI1.PV")] = 1e9
    faults = instruments.judge(rows_RC)[1]
    assert {name: fault.rows for name, fault in faults.items()} == {"LI1.PV": 3}
    assert instruments.judge(rows_RC, ignored=frozenset({"LI1.PV"}))[1] == {}
    dropped = plant_with(small_plant, LI1_PV={"status": Status.DROP})
    assert dropped.tags["LI1.PV"].status is Status.DROP


def test_what_is_usual_comes_back_from_json_and_gaps_teach_nothing() -> None:
    values_T = np.array([1.0, 2.0, np.nan, 9.0, 8.5, 8.5, 8.5])
    normal = Normal.of(values_T, (Stretch(name="r", start=0, stop=7),), steps=False)
    assert Normal.from_dict(normal.to_dict()) == normal
    assert normal.still == 10  # twice the longest run of three, and never below ten
    never = Normal.of(np.full(5, np.nan), (Stretch(name="r", start=0, stop=5),), steps=True)
    assert (never.jump, never.low, Normal.from_dict(never.to_dict())) == (math.inf, -math.inf, never)
    # A stretch that begins far away from where the last one ended is no jump.
    stretches = (Stretch(name="a", start=0, stop=3), Stretch(name="b", start=3, stop=6))
    apart = Normal.of(np.array([1.0, 1.1, 1.0, 50.0, 50.1, 50.0]), stretches, steps=False)
    assert apart.jump < 1.0


def fault_of_valve(instruments: Instruments, newest: list[float]) -> str:
    """Why FC1.SP is not believed after these newest values, of which some are further than a move; "" where it is."""
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "FC1.SP")
    rows_RC[:, c] = 40.0
    rows_RC[-len(newest) :, c] = newest
    fault = instruments.judge(rows_RC)[1].get("FC1.SP")
    return fault.why if fault else ""


def test_a_valve_moved_once_by_hand_is_believed_after_three_rows(instruments: Instruments) -> None:
    assert "which no advice did" in fault_of_valve(instruments, [48.0] * 2)
    assert fault_of_valve(instruments, [48.0] * 3) == ""


def test_a_valve_signal_that_spiked_for_one_row_and_came_back_is_believed(instruments: Instruments) -> None:
    assert fault_of_valve(instruments, [48.0, 40.0]) == ""


def test_a_valve_that_jumped_behind_a_gap_is_waited_for(instruments: Instruments) -> None:
    assert "which no advice did" in fault_of_valve(instruments, [math.nan, 60.0])
    assert fault_of_valve(instruments, [math.nan, 48.0]) == ""  # two advices of at most 5 may have led there


def test_a_move_by_hand_is_told_with_where_the_valve_stood_before(instruments: Instruments) -> None:
    rows_RC, c = record(instruments.plant)[100 : 100 + ROWS], at(instruments.plant, "FC1.SP")
    rows_RC[:, c] = 40.0
    rows_RC[-2:, c] = [48.0, 56.0]
    assert instruments.judge(rows_RC)[1]["FC1.SP"].moved == ((2, 40.0), (1, 48.0))
    rows_RC[-2:, c] = [48.0, 49.0]
    assert instruments.judge(rows_RC)[1]["FC1.SP"].moved == ((2, 40.0),)
    rows_RC[-2:, c] = np.nan
    assert instruments.judge(rows_RC)[1]["FC1.SP"].moved == ()


def pushed(instruments: Instruments, change_R: np.ndarray) -> np.ndarray:
    """A level that changes by so much in each of the newest rows, shown without noise."""
    rows_RC, c = record(instruments.plant, ROWS), at(instruments.plant, "LI1.PV")
    rows_RC[:, c] = 50.0
    rows_RC[-len(change_R) :, c] += np.cumsum(change_R)
    rows_RC[: -len(change_R), c] += 1e-3 * np.arange(ROWS - len(change_R))  # alive
    return rows_RC


def test_a_plant_that_goes_on_faster_than_the_record_showed_is_believed_all_the_way(instruments: Instruments) -> None:
    jump = instruments.normals["LI1.PV"].jump
    faster_R = np.minimum(0.3 * np.arange(1, 16), 2.0) * jump
    rows_RC = pushed(instruments, faster_R)
    believed_RC, faults = instruments.judge(rows_RC)
    assert "LI1.PV" not in faults
    np.testing.assert_array_equal(believed_RC, rows_RC)


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_a_level_that_is_elsewhere_at_once_or_sets_off_at_once_is_not(instruments: Instruments, rows: int) -> None:
    jump, c = instruments.normals["LI1.PV"].jump, at(instruments.plant, "LI1.PV")
    for change_R in (1.5 * jump * np.eye(1, rows)[0], 1.5 * jump * np.ones(rows)):
        believed_RC, faults = instruments.judge(pushed(instruments, change_R))
        assert faults["LI1.PV"].rows == rows
        assert np.isnan(believed_RC[-rows:, c]).all()


def test_what_comes_behind_a_gap_has_no_pace_to_go_on_with(instruments: Instruments) -> None:
    jump, c = instruments.normals["LI1.PV"].jump, at(instruments.plant, "LI1.PV")
    rows_RC = pushed(instruments, np.array([0.9, 0.9, 0.9, 1.8, 1.8]) * jump)
    assert "LI1.PV" not in instruments.judge(rows_RC)[1]
    rows_RC[-2, c] = np.nan
    assert instruments.judge(rows_RC)[1]["LI1.PV"].rows == 2
