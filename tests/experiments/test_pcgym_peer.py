from types import SimpleNamespace

import numpy as np
import pytest

from experiments import pcgym_peer as peers
from procmodel.plant import load_plant


class Tank:
    """In pcgym's place: h3 follows pump 2 and h4 pump 1, each along a first-order lag; reward is the error of h3."""

    def __init__(self, steps=40):
        self.steps = steps

    def ask(self, **request):
        if request["do"] == "make":
            self.x, self.t = np.zeros(4), 0
            self.asked = request.get("setpoints") or {"h3": [0.3] * (self.steps + 1), "h4": [0.2] * (self.steps + 1)}
            return {"x": self.x.tolist(), "setpoints": self.asked}
        v1, v2 = request["u"]
        self.x[2:] += 0.1 * (np.array([0.06 * v2, 0.06 * v1]) - self.x[2:])
        self.t += 1
        reward = -((self.x[2] - self.asked["h3"][self.t]) ** 2)
        return {"x": self.x.tolist(), "reward": reward, "done": self.t == self.steps}


@pytest.mark.parametrize("name", sorted(peers.CASES))
def test_every_task_has_a_plant_file_with_the_states_it_asks_for(name):
    plant, case = load_plant(peers.FILES / f"{name}.yaml"), peers.CASES[name]
    assert set(case.asked) == {cv for cv in plant.cvs if plant.tags[cv].setpoint is not None}
    assert all(loop.mv < len(plant.mvs) and loop.cv < len(plant.columns) - len(plant.mvs) for loop in case.loops)


def test_the_log_holds_inputs_and_the_states_they_led_to_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "HOME", tmp_path)
    plant, case = load_plant(peers.FILES / "four_tank.yaml"), peers.CASES["four_tank"]
    rows = peers.logged("four_tank", case, plant, 200, Tank())
    assert rows.shape == (200, 6)
    assert (rows[:, :2] >= 0.1).all()
    assert (rows[:, :2] <= 10.0).all()
    np.testing.assert_allclose(rows[1:, 4], rows[:-1, 4] + 0.1 * (0.06 * rows[1:, 1] - rows[:-1, 4]))
    assert np.array_equal(peers.logged("four_tank", case, plant, 200, None), rows)  # nobody is asked again


def test_the_mediocre_controller_brings_the_levels_near_their_setpoints():
    plant, case, tank = load_plant(peers.FILES / "four_tank.yaml"), peers.CASES["four_tank"], Tank(steps=170)
    log = np.tile([5.05, 5.05, 0.0, 0.0, 0.0, 0.0], (200, 1))
    peers.by_controller("four_tank", case, plant, tank, log)
    assert tank.x[2] == pytest.approx(0.3, abs=0.05)
    assert tank.x[3] == pytest.approx(0.2, abs=0.05)


def test_a_held_advice_leaves_the_inputs_where_they_were():
    plant = load_plant(peers.FILES / "four_tank.yaml")
    log = np.tile([5.05, 5.05, 0.0, 0.0, 0.0, 0.0], (200, 1))
    hold = SimpleNamespace(is_move=False, reason="in doubt", setpoints={})
    advisor = SimpleNamespace(plant=plant, advise=lambda rows, **_: (hold, None))
    gained, holds = peers.advised("four_tank", advisor, Tank(steps=5), log)
    levels = 0.303 * (1 - 0.9 ** np.arange(1, 6))  # both pumps stay at 5.05 V, where the log had them
    assert holds == 5
    assert gained == pytest.approx(-np.sum((levels - 0.3) ** 2))


def test_the_past_of_an_episode_is_the_logs_up_to_its_nearest_state():
    plant = load_plant(peers.FILES / "four_tank.yaml")
    log = np.random.default_rng(0).uniform(0.2, 0.4, size=(300, 6))
    near = log[170, 2:] + 1e-3
    rows = np.array(peers.past_of(plant, log, near.tolist()))
    np.testing.assert_array_equal(rows[:-1], log[81:170])
    np.testing.assert_array_equal(rows[-1], [*log[170, :2], *near])
