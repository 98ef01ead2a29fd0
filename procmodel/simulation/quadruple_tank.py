"""The quadruple tank, minimum-phase setting P-, with its two level loops.

Johansson, K. H. (2000). The quadruple-tank process: a multivariable laboratory process with an adjustable zero. IEEE
Transactions on Control Systems Technology 8(3), 456-465.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from procmodel.simulation.operators import LevelLoops
from procmodel.simulation.reference import Disturbances, ReferencePlant, packaged_plant
from procmodel.simulation.signals import lagged, levels, stream, wander

CITATION = "Johansson (2000), IEEE Trans. Control Systems Technology 8(3), 456-465, operating point P-"

A1, A2, A3, A4 = 28.0, 32.0, 28.0, 32.0  # tank cross-sections [cm2]
OUT1, OUT2, OUT3, OUT4 = 0.071, 0.057, 0.071, 0.057  # outlet cross-sections [cm2]
GRAVITY = 981.0  # [cm/s2]
K1, K2 = 3.33, 3.35  # pump constants [cm3/(V s)]
GAMMA1, GAMMA2 = 0.70, 0.60  # share of each pump that goes to its lower tank [-]
TANK4_BRIM = 2.3  # level that tank 4 may not exceed [cm]: 1.6 times its published one

SAMPLE_TIME = 5.0  # [s], as in the plant file


def _jet(level: Any, sqrt: Callable[[Any], Any]) -> Any:
    """Torricelli's outflow velocity [cm/s], smooth and near zero for an empty tank.

    The level is rounded off below 0.01 cm; at 1 cm this changes it by 3e-7 cm.
    """
    return sqrt(GRAVITY * (level + sqrt(level * level + 1e-6)))


def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Level rates [cm/s] of tanks 1 to 4; x levels [cm], u pumps [V], w extra inflow to tanks 1 and 2 [cm3/s]."""
    out1, out2, out3, out4 = (
        outlet * _jet(level, sqrt)
        for outlet, level in zip((OUT1, OUT2, OUT3, OUT4), (x[0], x[1], x[2], x[3]), strict=True)
    )
    return [
        (out3 - out1 + GAMMA1 * K1 * u[0] + w[0]) / A1,
        (out4 - out2 + GAMMA2 * K2 * u[1] + w[1]) / A2,
        ((1.0 - GAMMA2) * K2 * u[1] - out3) / A3,
        ((1.0 - GAMMA1) * K1 * u[0] - out4) / A4,
    ]


def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Levels of tanks 1, 2 and 3 [cm]."""
    return [x[0], x[1], x[2]]


def tank4_margin(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> Any:
    """Freeboard of tank 4 [cm]."""
    return TANK4_BRIM - x[3]


def steady_levels(u: Any) -> tuple[float, float, float, float]:
    """Levels [cm] at rest under pump voltages u [V], in closed form."""
    flow3, flow4 = (1.0 - GAMMA2) * K2 * u[1], (1.0 - GAMMA1) * K1 * u[0]
    flows = (GAMMA1 * K1 * u[0] + flow3, GAMMA2 * K2 * u[1] + flow4, flow3, flow4)
    level1, level2, level3, level4 = (
        (flow / outlet) ** 2 / (2.0 * GRAVITY) for flow, outlet in zip(flows, (OUT1, OUT2, OUT3, OUT4), strict=True)
    )
    return level1, level2, level3, level4


def pump_voltages(level1: float, level2: float) -> np.ndarray:
    """Pump voltages [V] that hold the two lower levels [cm], in closed form."""
    feed = np.array([[GAMMA1 * K1, (1.0 - GAMMA2) * K2], [(1.0 - GAMMA1) * K1, GAMMA2 * K2]])
    return np.linalg.solve(feed, [OUT1 * math.sqrt(2 * GRAVITY * level1), OUT2 * math.sqrt(2 * GRAVITY * level2)])


def disturbances(rows: int, seed: int) -> Disturbances:
    """Room temperature [degC] (which does nothing), and inflows that nobody measures [cm3/s]: slow ones plus steps."""
    step = SAMPLE_TIME
    room = 20.0 + wander(rows, step=step, time_constant=2 * 3600, spread=1.0, rng=stream(seed, "tank", "room"))
    inflows = []
    for tank in ("inflow 1", "inflow 2"):
        slow = wander(rows, step=step, time_constant=900.0, spread=0.15, rng=stream(seed, tank, "slow"))
        steps = levels(
            rows,
            hold=lambda rng: int(rng.uniform(0.5, 3.0) * 3600 / step),
            draw=lambda rng: float(rng.uniform(-0.4, 0.4)),
            rng=stream(seed, tank, "steps"),
        )
        inflows.append(slow + lagged(steps, step=step, time_constant=20.0))
    return Disturbances(d=room[:, None], w=np.stack(inflows, axis=1))


def setpoints(rows: int, seed: int) -> np.ndarray:
    """Level setpoints [cm] of tanks 1 and 2, each changed every 40 min to 3.5 h; none for tank 3."""
    table = np.full((rows, 3), np.nan)
    rng = stream(seed, "tank", "setpoints")
    pair = _reachable(rng, np.array([12.4, 12.7]), which=(0, 1))
    due = [_hold(rng, under_way=True), _hold(rng, under_way=True)]
    row = 0
    while row < rows:
        until = min(due)
        table[row:until, :2] = pair
        which = due.index(until)
        pair = _reachable(rng, pair, which=(which,))
        due[which] += _hold(rng)
        row = until
    return table


def task(rows: int, seed: int) -> np.ndarray:
    """Setpoints [cm] of a closed-loop trial: both are changed together every 5 to 9 min.

    Denser than an operator's day, so that half an hour shows several changes; all rest levels leave the upper tanks
    the freeboard that a margin judged from a few dipstick readings needs.
    """
    table = np.full((rows, 3), np.nan)
    rng = stream(seed, "tank", "task")
    pair, row = np.array([12.4, 12.7]), 0
    while row < rows:
        until = row + int(rng.uniform(300.0, 540.0) / SAMPLE_TIME)
        table[row:until, :2] = pair
        pair, row = _reachable(rng, pair, which=(0, 1), most=1.5, least=1.0), until
    return table


def _hold(rng: np.random.Generator, under_way: bool = False) -> int:
    share = rng.uniform() if under_way else 1.0
    return max(1, int(share * rng.uniform(2400.0, 12600.0) / SAMPLE_TIME))


def _reachable(
    rng: np.random.Generator, pair: np.ndarray, which: tuple[int, ...], most: float = 2.5, least: float = 0.0
) -> np.ndarray:
    """A new pair of setpoints [cm], each changed by at least `least` [cm], that rest with both upper tanks below `most`
    [cm]: by default only just free."""
    for _ in range(200):
        new = pair.copy()
        new[list(which)] = np.round(rng.uniform(8.5, 15.5, size=len(which)), 1)
        volts = pump_voltages(*new)
        level3, level4 = steady_levels(volts)[2:]
        far = all(abs(new[i] - pair[i]) >= least for i in which)
        if far and volts.min() > 1.2 and max(level3, level4) < most:
            return new
    return np.array([12.4, 12.7])


def make() -> ReferencePlant:
    """The quadruple tank at rest under the published pump voltages.

    The published levels (12.4, 12.7, 1.8, 1.4 cm) are readings; the published parameters rest at 12.26, 12.78, 1.63 and
    1.41 cm, which is what `x0` holds.
    """
    u0 = np.array([3.0, 3.0])
    return ReferencePlant(
        name="quadruple-tank",
        plant=packaged_plant("quadruple_tank.yaml"),
        citation=CITATION,
        states=("h1 [cm]", "h2 [cm]", "h3 [cm]", "h4 [cm]"),
        unmeasured=("inflow to tank 1 [cm3/s]", "inflow to tank 2 [cm3/s]"),
        x0=np.array(steady_levels(u0)),
        u0=u0,
        d0=np.array([20.0]),
        w0=np.array([0.0, 0.0]),
        equations=equations,
        outputs=outputs,
        margins={"tank4_margin": tank4_margin},
        noise=np.array([0.0, 0.0, 0.02, 0.02, 0.02, 0.1]),
        lab_error={"tank4_margin": 0.1},
        substeps=2,
        operator=LevelLoops,
        disturbances=disturbances,
        setpoints=setpoints,
        task=task,
    )
