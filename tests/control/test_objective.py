"""The cost of a plan: closed forms, derivatives by differences, and the typical size."""

from __future__ import annotations

import numpy as np
import pytest
from control_fakes import TANKS, make_plant, tanks_scaler

from procmodel.control.horizon import Horizon
from procmodel.control.objective import REST_WEIGHT, TURNED, StageCost, convex, setpoints_of
from procmodel.errors import PlantFileError
from procmodel.plant import Plant

SCALER = tanks_scaler()
START = np.array([3.0, 3.0])


def cost_of(plant: Plant) -> StageCost:
    return StageCost.of(plant, SCALER, Horizon.of(plant, SCALER.centre[:2], SCALER.spread[:2]))


def free_tanks(**tags: object) -> dict[str, object]:
    """The tanks without setpoints."""
    free = {name: {k: v for k, v in tag.items() if k != "setpoint"} for name, tag in TANKS.items()}
    return {name: {**tag, **tags.get(name, {})} for name, tag in free.items()}  # type: ignore[dict-item]


def test_tracking_suppression_and_rest_add_up_as_documented() -> None:
    tags = {**TANKS, "P2": {**TANKS["P2"], "rest_at": 2.0}, "L1": {**TANKS["L1"], "weight": 3.0, "range": [0, 40]}}
    cost = cost_of(make_plant(tags, every="10 s", horizon="20 s", move_weight=0.2))
    y = np.array([[11.0, 9.0], [12.0, 10.0], [12.0, 9.0], [12.0, 9.0]])
    u = np.array([[3.5, 3.0], [3.5, 3.0], [3.5, 2.0], [3.5, 2.0]])
    total = cost.total(y[None], u[None], np.zeros((4, 0)), START, np.array([12.0, 9.0]))[0]
    tracking = 3.0 * (1 / 40) ** 2 + (1 / 19) ** 2  # L2 has no range: its limits are 19 cm apart
    rest = REST_WEIGHT * 2 * (1 / 6) ** 2
    moves = 0.2 * ((0.5 / 6) ** 2 + (1 / 6) ** 2)
    assert total == pytest.approx((tracking + rest) / 2 + moves, rel=1e-12)  # two rows to an advice
    assert cost.per_advice(total) == pytest.approx(total / 2)


def test_a_linear_objective_has_the_size_of_its_standard_deviation() -> None:
    cost = cost_of(make_plant(free_tanks(), objective="2000 - 3 * L1 + 10 * P1"))
    assert cost.size == pytest.approx(np.hypot(3 * 2.0, 10 * 0.7))
    y, u = np.full((1, 60, 2), 11.0), np.full((1, 60, 2), 3.0)
    total = cost.total(y, u, np.zeros((60, 0)), START, np.full(2, np.nan))[0]
    assert cost.per_advice(total) == pytest.approx(2000 - 33 + 30)


def test_a_quadratic_objective_has_its_size_from_the_second_order_too() -> None:
    cost = cost_of(make_plant(free_tanks(), objective="(L1 - 11)**2"))
    assert cost.size == pytest.approx(np.sqrt(2) * 2.0**2)  # variance of s^2 chi^2_1


def test_the_size_does_not_change_with_the_currency() -> None:
    """The same objective in another currency gives the same plan: only `size` scales."""
    one, other = (cost_of(make_plant(free_tanks(), objective=f"{k} * (P1 + L2**2)")) for k in (1, 1000))
    y, u = np.random.default_rng(0).normal(5, 1, (2, 60, 2)), np.random.default_rng(1).normal(3, 1, (2, 60, 2))
    at = (np.zeros((60, 0)), START, np.full(2, np.nan))
    np.testing.assert_allclose(one.total(y, u, *at), other.total(y, u, *at), rtol=1e-12)
    assert other.size == pytest.approx(1000 * one.size)


def test_prices_add_to_the_objective() -> None:
    tags = free_tanks(P1={"price": "0.02 CHF/V"}, P2={"price": "3 CHF/V"})
    y, u = np.zeros((1, 60, 2)), np.array([2.0, 5.0]) * np.ones((1, 60, 2))
    at = (np.zeros((60, 0)), np.array([2.0, 5.0]), np.full(2, np.nan))
    priced, both = cost_of(make_plant(tags)), cost_of(make_plant(tags, objective="7 * P1"))
    assert priced.per_advice(priced.total(y, u, *at)[0]) == pytest.approx(0.04 + 15)
    assert both.per_advice(both.total(y, u, *at)[0]) == pytest.approx(0.04 + 15 + 14)


def test_gradient_and_hessian_agree_with_differences() -> None:
    tags = {**free_tanks(P2={"rest_at": 2.0}), "L1": {**TANKS["L1"], "weight": 2.0}, "D": {"role": "DV", "unit": "1"}}
    plant = make_plant(tags, objective="P1 * L1 * D + exp(0.1 * L2) / P2")
    scaler = type(SCALER)(centre=np.append(SCALER.centre, 1.0), spread=np.append(SCALER.spread, 0.5))
    cost = StageCost.of(plant, scaler, Horizon.of(plant, SCALER.centre[:2], SCALER.spread[:2]))
    rng = np.random.default_rng(2)
    y, u, d = rng.uniform(5, 12, (60, 2)), rng.uniform(1, 5, (60, 2)), rng.uniform(0, 2, (60, 1))
    setpoint = np.array([12.0, np.nan])

    def rows(s_NS: np.ndarray) -> float:
        still = np.zeros_like(START)  # the move term is left out of the quadratic model
        total = cost.total(s_NS[None, :, :2], s_NS[None, :, 2:], d, still, setpoint)[0]
        moved = np.diff(s_NS[:, 2:], prepend=0.0 * still[None], axis=0) / cost.span_U
        return float(total - cost.move_weight * np.sum(moved**2))

    gradient, hessian = cost.quadratic(y, u, d, setpoint)
    at, eps = np.concatenate([y, u], axis=1), 1e-4
    for i in range(4):
        e = np.zeros((60, 4))
        e[:, i] = eps
        forward, back = (cost.quadratic((at + k * e)[:, :2], (at + k * e)[:, 2:], d, setpoint)[0] for k in (1, -1))
        assert (rows(at + e) - rows(at - e)) / (2 * eps) == pytest.approx(gradient[:, i].sum(), rel=1e-6)
        np.testing.assert_allclose(hessian[:, :, i], (forward - back) / (2 * eps), rtol=1e-5, atol=1e-7)


def test_only_negative_curvature_is_turned_round() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    mixed = rotation @ np.diag([2.0, -1.0, 0.5]) @ rotation.T
    expected = rotation @ np.diag([2.0, TURNED, 0.5]) @ rotation.T
    np.testing.assert_allclose(convex(mixed), expected, atol=1e-14)


def test_setpoints_may_be_changed_by_name() -> None:
    plant = make_plant({**TANKS, "L2": {**TANKS["L2"], "setpoint": None}})
    np.testing.assert_array_equal(setpoints_of(plant, None), [12.0, np.nan])
    np.testing.assert_array_equal(setpoints_of(plant, {"L2": 8}), [12.0, 8.0])
    with pytest.raises(PlantFileError, match=r"unknown CV 'P1'.*L1, L2"):
        setpoints_of(plant, {"P1": 3.0})
    with pytest.raises(PlantFileError, match="finite"):
        setpoints_of(plant, {"L1": float("nan")})


@pytest.mark.parametrize(
    ("advice", "tag", "said"),
    [
        ({"objective": "3 * L3"}, {}, r"unknown tag 'L3'.*P1, P2, L1, L2"),
        ({"objective": "sqrt(3 - L1)"}, {}, "no finite value where the plant usually runs"),
        ({}, {"price": "1 CHF/cm"}, r"'A1'.*not predicted"),
    ],
)
def test_an_objective_that_cannot_be_planned_with_is_refused(
    advice: dict[str, str], tag: dict[str, str], said: str
) -> None:
    tags = {**TANKS, "A1": {"role": "AUX", "unit": "cm", **tag}}
    scaler = type(SCALER)(centre=np.append(SCALER.centre, 1.0), spread=np.append(SCALER.spread, 0.5))
    plant = make_plant(tags, **advice)
    with pytest.raises(PlantFileError, match=said):
        StageCost.of(plant, scaler, Horizon.of(plant, SCALER.centre[:2], SCALER.spread[:2]))
