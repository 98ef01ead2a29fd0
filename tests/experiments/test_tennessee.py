import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import peers, tennessee
from experiments.worker import FILES, Worker
from procmodel.plant import load_plant

BASE = {"pressure.SP": 2705.0, "level.SP": 75.0, "temperature.SP": 120.4, "ya.SP": 54.95, "yac.SP": 58.57}


class Process:
    """In the simulator's place: what has a setpoint stands there, the cost is the reactor level; trips after so many
    rows."""

    def __init__(self, trips_after=10_000):
        self.trips_after, self.asked = trips_after, []

    def ask(self, **request):
        self.asked.append(request)
        if request["do"] == "start":
            self.rows = 0
            return {"setpoints": {tennessee.SETPOINTS[tag]: value for tag, value in BASE.items()}}
        self.rows += 1
        seen = dict.fromkeys([*tennessee.MEASURED.values(), "stripper_underflow", *tennessee.NORMAL], 50.0)
        seen |= {"stripper_underflow_G_concentration": 53.7, **request["setpoints"]}
        cost, tripped = seen["reactor_level"], "low level" if self.rows >= self.trips_after else None
        known = {"measured": seen, "least": seen, "most": seen | {"separator_level": 101.0 if cost < 70 else 50.0}}
        return known | {"cost": cost + 1.0, "true_cost": cost, "time": 0.25 * self.rows, "tripped": tripped}


@pytest.fixture
def plant():
    return load_plant(FILES / "tep.yaml")


def test_the_person_moves_along_ramps_within_habitual_spans_that_the_advice_may_leave(plant):
    rows = tennessee.habits(BASE, 2_400, np.random.default_rng(0))
    assert rows[0] == pytest.approx(BASE)
    for tag, (low, high, speed) in tennessee.HABIT.items():
        values, limits = np.array([row[tag] for row in rows]), plant.tags[tag].limits
        assert values.min() >= low
        assert values.max() <= high
        assert np.ptp(values) > 0.7 * (high - low)  # the record shows most of the span
        assert np.abs(np.diff(values)).max() <= speed * tennessee.ROW + 0.0101  # to a hundredth
        assert plant.tags[tag].max_move.up <= speed * tennessee.ROW
        assert limits.high.at > high
        assert limits.low.at < low
    cheap = [row["pressure.SP"] > 2770 and row["level.SP"] < 69 and row["yac.SP"] < 56.5 for row in rows]
    assert np.mean(cheap) < 0.01  # the person does not stand where the advice should get to


def test_a_campaign_ends_where_the_plant_trips(plant):
    rows = tennessee.campaign(plant, 100, 3, Process(trips_after=31))
    assert rows.shape == (30, len(plant.columns))
    assert rows[0, plant.columns.index("COST")] == pytest.approx(76.0)  # as metered


def test_the_record_is_kept_by_campaign(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(tennessee, "HOME", tmp_path)
    monkeypatch.setattr(tennessee, "CAMPAIGN_HOURS", 5)
    first = tennessee.logged(plant, 2, Process())
    again = tennessee.logged(plant, 2, None)  # nobody is asked again
    assert [rows.tolist() for rows in again] == [rows.tolist() for rows in first]
    assert not np.array_equal(*first)


def advisor(*advices):
    """Gives these in turn, the last one for ever."""
    told = iter(advices)
    last = [advices[-1]]
    return SimpleNamespace(advise=lambda rows, **_: (next(told, last[0]), None))


def test_a_hold_leaves_the_setpoints_where_they_were(plant, monkeypatch):
    monkeypatch.setattr(tennessee, "TRIAL_HOURS", 2)
    move = SimpleNamespace(is_move=True, setpoints=BASE | {"level.SP": 66.0})
    hold = SimpleNamespace(is_move=False, reason="in doubt")
    process = Process()
    found = tennessee.trial(plant, advisor(move, hold), process, seed=1, disturbance=6)
    assert process.asked[0] == {"do": "start", "seed": 1, "disturbance": 6, "from": 25.0}
    assert {each["setpoints"]["reactor_level"] for each in process.asked[1:101]} == {75.0}  # a day at rest
    assert {each["setpoints"]["reactor_level"] for each in process.asked[101:]} == {66.0}
    assert found["cost_per_hour"] == pytest.approx(66.0)  # the plant's own account, not the meter's
    assert found["holds"] == 7
    assert found["held"] == [[0.25, 1.75, "in doubt"]]
    assert found["rows_beyond_normal"] == {"separator_level": 1.0}


def test_holds_are_told_by_episode():
    holds = [(1.0, "surprised: 9"), (1.25, "surprised: 11"), (1.5, "no data"), (5.0, "no data")]
    assert tennessee.episodes(holds) == [[1.0, 1.25, "surprised: 9"], [1.5, 1.5, "no data"], [5.0, 5.0, "no data"]]


def test_a_trip_ends_the_trial_and_says_when_and_why(plant):
    found = tennessee.trial(plant, None, Process(trips_after=108), seed=1)
    assert found["tripped_at_h"] == 2.0
    assert found["trip"] == "low level"


@pytest.mark.parametrize("spoiled", [{"tripped_at_h": 9.0}, {"rows_beyond_normal": {"reactor_level": 0.01}}, {}])
def test_a_trip_or_a_broken_limit_in_any_trial_leaves_no_cost_to_claim(plant, spoiled):
    sound = {"cost_per_hour": 120.0, "tripped_at_h": None, "rows_beyond_normal": {}}
    record = [np.full((200, len(plant.columns)), 150.0)]
    found = tennessee.summary(plant, record, [sound, sound | {"cost_per_hour": 126.0} | spoiled])
    assert found["cost_per_hour"] == (None if spoiled else 123.0)
    assert found["record_cost_cheapest_day"] == pytest.approx(150.0)


def test_one_part_is_run_anew_and_the_others_are_those_of_the_stored_run(tmp_path, monkeypatch):
    (tmp_path / "peers.json").write_text(
        json.dumps(
            {"results": {"cstr": {"advice": -43.0}, "tennessee_eastman": {"cost_per_hour": 150.0, "trials": []}}}
        )
    )
    monkeypatch.setattr(peers.results, "STORE", tmp_path)
    parts = {"pcgym": None, "tep": lambda quick: {"tennessee_eastman": {"cost_per_hour": 120.0}}}
    monkeypatch.setattr(peers, "PARTS", parts)
    values = peers.study(False, only="tep").values
    assert values["pcgym_cstr_return"] == -43.0
    assert values["tep_cost_per_hour"] == 120.0


@pytest.mark.skipif(not (tennessee.HOME / "venv" / "ready").exists(), reason="tep-studio is not installed in runs/tep")
def test_the_simulator_rests_at_its_base_case():
    with Worker(tennessee.WORKER.name, tennessee.HOME, tennessee.WANTED) as worker:
        at = tennessee.started(worker, seed=1)
        answers = [tennessee.run_row(worker, at) for _ in range(8)]
    answer = answers[-1]
    assert at == pytest.approx(BASE, rel=1e-3)
    # Downs and Vogel: 170.6 $/h; the loops swing the purge about that.
    assert np.mean([each["true_cost"] for each in answers]) == pytest.approx(170.6, abs=20.0)
    assert answer["least"]["reactor_pressure"] <= answer["measured"]["reactor_pressure"] <= 2720.0
    assert answer["tripped"] is None


def test_a_worker_that_ended_is_named(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text("print(input())\n")
    monkeypatch.setattr("experiments.worker.FILES", tmp_path)
    monkeypatch.setattr("experiments.worker._interpreter", lambda *_: sys.executable)
    with Worker("echo.py", tmp_path, ()) as worker:
        assert worker.ask(do="start") == {"do": "start"}
        with pytest.raises(RuntimeError, match=r"The process of echo\.py ended"):
            worker.ask(do="run")
