"""The forced-circulation evaporator, with its level loop closed and its operators by shift.

Newell, R. B. and Lee, P. L. (1989). Applied Process Control: A Case Study. Prentice Hall. Equations as listed there;
economic cost and constraints as in Amrit, R., Rawlings, J. B. and Biegler, L. T. (2013). Optimizing process economics
online using model predictive control. Computers and Chemical Engineering 58, 334-343, whose optimum at X2 = 25 % is
P2 = 49.743 kPa, P100 = 191.713 kPa, F200 = 215.888 kg/min. With X2 at its bound the product flow is fixed, so that the
optimum does not depend on the pumping price on which publications differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from procmodel.simulation.operators import ShiftOperators
from procmodel.simulation.reference import Disturbances, ReferencePlant, packaged_plant, steady_state
from procmodel.simulation.signals import lagged, levels, stream, wander

CITATION = "Newell and Lee (1989), Applied Process Control: A Case Study, Prentice Hall"

HOLDUP = 20.0  # liquid in the evaporator M, and liquid per level rho A [kg], [kg/m]
VAPOUR = 4.0  # vapour capacity C [kg/kPa]
CIRCULATION = 50.0  # F3 [kg/min]
HEAT_CAPACITY = 0.07  # Cp [kW min/(kg K)]
LATENT, LATENT_STEAM = 38.5, 36.6  # latent heats of vapour and steam [kW min/kg]
UA2 = 6.84  # condenser [kW/K]
LEVEL_SETPOINT = 1.0  # [m]
LEVEL_GAIN = 4.0  # of the level loop [kg/min per m]: a 5 min loop
LEVEL_RESET = 30.0  # [min]
FLOODING_LOAD = (
    21.8  # F4 sqrt(T3 / P2) at which droplets are carried over [kg/min sqrt(K/kPa)]: 2.2 % above the optimum
)

SAMPLE_TIME = 60.0  # [s], as in the plant file
SHIFT = 480  # rows in 8 h


class Flows(NamedTuple):
    """Algebraic part: flows [kg/min] and temperatures [degC]."""

    product: Any  # F2
    vapour: Any  # F4
    condensate: Any  # F5
    steam: Any  # F100
    vapour_temperature: Any  # T3


def flows(x: Any, u: Any, d: Any, sqrt: Callable[[Any], Any] = math.sqrt) -> Flows:
    """Flows of a state x = (L2 [m], X2 [%], P2 [kPa], reset of the level loop [kg/min])."""
    level, composition, pressure, reset = x[0], x[1], x[2], x[3]
    feed, feed_temperature, cooling_temperature = d[0], d[1], d[2]
    product_temperature = 0.5616 * pressure + 0.3126 * composition + 48.43
    vapour_temperature = 0.507 * pressure + 55.0
    steam_temperature = 0.1538 * u[0] + 90.0
    duty = 0.16 * (feed + CIRCULATION) * (steam_temperature - product_temperature)
    vapour = (duty - feed * HEAT_CAPACITY * (product_temperature - feed_temperature)) / LATENT
    condenser_duty = UA2 * (vapour_temperature - cooling_temperature) / (1.0 + UA2 / (2.0 * HEAT_CAPACITY * u[1]))
    asked = reset + LEVEL_GAIN * (level - LEVEL_SETPOINT)
    # The valve cannot run backwards: rounded off below 0.01 kg/min, 1e-5 kg/min away from it in operation.
    product = 0.5 * (asked + sqrt(asked * asked + 1e-4))
    return Flows(product, vapour, condenser_duty / LATENT, duty / LATENT_STEAM, vapour_temperature)


def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Rates per second of L2, X2, P2 and the level loop's reset.

    u steam pressure [kPa] and cooling water [kg/min]; d feed flow [kg/min], feed and cooling water temperature [degC];
    w feed composition [%].
    """
    now = flows(x, u, d, sqrt)
    return [
        (d[0] - now.vapour - now.product) / (HOLDUP * 60.0),
        (d[0] * w[0] - now.product * x[1]) / (HOLDUP * 60.0),
        (now.vapour - now.condensate) / (VAPOUR * 60.0),
        LEVEL_GAIN * (x[0] - LEVEL_SETPOINT) / (LEVEL_RESET * 60.0),
    ]


def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Product composition [%], pressure [kPa], steam flow and product flow [kg/min]."""
    now = flows(x, u, d, sqrt)
    return [x[1], x[2], now.steam, now.product]


def entrainment_margin(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> Any:
    """Distance to the flooding load [%], after Souders and Brown: the load is F4 sqrt(T3 / P2), T3 in kelvin.

    Vapour velocity is F4 / rho with rho ~ P2 / T3, and the velocity that lifts droplets goes with sqrt(1 / rho).
    """
    now = flows(x, u, d, sqrt)
    return 100.0 * (1.0 - now.vapour * sqrt((now.vapour_temperature + 273.15) / x[2]) / FLOODING_LOAD)


def hourly_cost(y: Any, u: Any) -> Any:
    """Steam, cooling water and pumping [$/h]; the objective of the plant file in Python."""
    return 600.0 * y[2] + 0.6 * u[1] + 1.009 * (y[3] + CIRCULATION)


def disturbances(rows: int, seed: int) -> Disturbances:
    """Feed flow, feed and cooling water temperature; feed composition unmeasured. Slow wander plus changes by shift."""

    def slow(name: str, hours: float, spread: float) -> np.ndarray:
        rng = stream(seed, "evaporator", name)
        return wander(rows, step=SAMPLE_TIME, time_constant=3600 * hours, spread=spread, rng=rng)

    def by_shift(name: str, size: float, minutes: float) -> np.ndarray:
        steps = levels(
            rows,
            hold=lambda rng: int(rng.choice([SHIFT // 2, SHIFT, SHIFT])),
            draw=lambda rng: float(rng.uniform(-size, size)),
            rng=stream(seed, "evaporator", name, "shift"),
        )
        return lagged(steps, step=SAMPLE_TIME, time_constant=60 * minutes)

    feed = 10.0 + slow("feed", 2.0, 0.04) + by_shift("feed", 0.2, 15.0)
    warmth = 40.0 + slow("warmth", 6.0, 1.0) + by_shift("warmth", 1.5, 20.0)
    cooling = 25.0 + slow("cooling", 8.0, 0.5)
    strength = 5.0 + slow("strength", 3.0, 0.05) + by_shift("strength", 0.1, 5.0)
    return Disturbances(d=np.stack([feed, warmth, cooling], axis=1), w=strength[:, None])


def setpoints(rows: int, seed: int) -> np.ndarray:
    """None: the plant is run for its cost within limits."""
    return np.full((rows, 4), np.nan)


def make() -> ReferencePlant:
    """The evaporator at rest under the published inputs of its base case (X2 = 25 %, P2 = 50.5 kPa, F2 = 2 kg/min)."""
    base_case = ReferencePlant(
        name="evaporator",
        plant=packaged_plant("evaporator.yaml"),
        citation=CITATION,
        states=("L2 [m]", "X2 [%]", "P2 [kPa]", "reset of the level loop [kg/min]"),
        unmeasured=("feed composition X1 [%]",),
        x0=np.array([LEVEL_SETPOINT, 25.0, 50.5, 2.0]),
        u0=np.array([194.7, 208.0]),
        d0=np.array([10.0, 40.0, 25.0]),
        w0=np.array([5.0]),
        equations=equations,
        outputs=outputs,
        margins={"entrainment_margin": entrainment_margin},
        noise=np.array([0.0, 0.0, 0.1, 0.25, 0.04, 0.015, 0.03, 0.15, 0.1]),
        lab_error={"entrainment_margin": 0.5},
        substeps=2,
        operator=ShiftOperators,
        disturbances=disturbances,
        setpoints=setpoints,
        hourly_cost=hourly_cost,
    )
    return replace(base_case, x0=steady_state(base_case))  # the published digits, carried to where nothing moves
