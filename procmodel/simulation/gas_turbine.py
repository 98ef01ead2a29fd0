"""A heavy-duty gas turbine in island operation, with its droop governor and a heater that takes what load is left.

Rowen, W. I. (1983). Simplified mathematical representations of heavy-duty gas turbines. Journal of Engineering for
Power 105(4), 865-869: governor, fuel system, torque, exhaust temperature with radiation shield and thermocouple. Left
out are its dead times (10 and 40 ms) and the lags of governor and valve positioner (50 ms), all far below a row, and
its temperature control, which takes over only beyond the limit that is kept here. Speed and load as shares of rated;
the rotor's time is one often used with the model, and the surroundings, the heater and the prices are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from procmodel.simulation.arithmetic import larger, smaller
from procmodel.simulation.crew import Crew, Drive
from procmodel.simulation.reference import Disturbances, ReferencePlant, packaged_plant, steady_state
from procmodel.simulation.signals import lagged, levels, stream, wander

CITATION = "Rowen (1983), Journal of Engineering for Power 105(4), 865-869, single shaft"

GOVERNOR_GAIN = 25.0  # W: 4 % droop
NO_LOAD_FUEL = 0.23  # K6, share of rated fuel that turns the machine without load; K3 = 0.77 is the rest
FUEL_LOW, FUEL_HIGH = -0.1, 1.5  # limits of the governor's fuel demand
FUEL_SYSTEM = 0.4  # [s]
DISCHARGE = 0.2  # compressor discharge volume [s]
ROTOR = 15.64  # turbine and generator [s]
TORQUE_FUEL, TORQUE_SPEED = 1.3, 0.5  # f2
KELVIN = 5.0 / 9.0  # of a degree Fahrenheit
RATED_TEMPERATURE = (950.0 - 32.0) * KELVIN  # TR [degC]
HEAT_FUEL, HEAT_SPEED = 700.0 * KELVIN, 550.0 * KELVIN  # f1 [K]
SHIELD, SHIELD_SHARE, THERMOCOUPLE = 15.0, 0.2, 2.5  # [s], [-], [s]
ROUNDED = 1e-3  # where the fuel demand meets its limits [-]

FUEL_PRICE, HEAT_PRICE = 50.0, 90.0  # of 1 % of rated fuel and of 1 % of rated load for the heater [$/h]
HEATER = 45.0  # its size [% of rated load]

SAMPLE_TIME = 2.0  # [s], as in the plant file
SHIFT = 3600  # rows in 2 h


class Shaft(NamedTuple):
    """Algebraic part, all as shares of rated but for the temperature."""

    demand: Any  # fuel that the governor asks for
    torque: Any
    exhaust: Any  # [degC]


def shaft(x: Any, u: Any, w: Any, sqrt: Callable[[Any], Any]) -> Shaft:
    """Fuel demand, torque and exhaust temperature of a state x = (fuel, gas, speed, shield, thermocouple)."""
    fuel, gas, speed = x[0], x[1], x[2]
    asked = GOVERNOR_GAIN * (0.01 * u[0] - speed)
    kept = larger(smaller(asked, FUEL_HIGH, ROUNDED, sqrt), FUEL_LOW, ROUNDED, sqrt)
    return Shaft(
        demand=NO_LOAD_FUEL + (1.0 - NO_LOAD_FUEL) * kept * speed,
        torque=TORQUE_FUEL * (gas - NO_LOAD_FUEL) + TORQUE_SPEED * (1.0 - speed),
        exhaust=RATED_TEMPERATURE + w[0] - HEAT_FUEL * (1.0 - fuel) + HEAT_SPEED * (1.0 - speed),
    )


def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Rates per second of fuel, gas and speed (shares of rated), shield and thermocouple [degC].

    u speed reference and heater [%]; d load of the other consumers [%]; w how much hotter the exhaust is than published
    [K], from the weather and from fouling.
    """
    now = shaft(x, u, w, sqrt)
    load = 0.01 * (u[1] + d[0])
    seen = (1.0 - SHIELD_SHARE) * now.exhaust + SHIELD_SHARE * x[3]
    return [
        (now.demand - x[0]) / FUEL_SYSTEM,
        (x[0] - x[1]) / DISCHARGE,
        (now.torque - load / x[2]) / ROTOR,
        (now.exhaust - x[3]) / SHIELD,
        (seen - x[4]) / THERMOCOUPLE,
    ]


def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Speed [%], exhaust temperature as the thermocouple has it [degC], fuel [%]."""
    return [100.0 * x[2], x[4], 100.0 * x[0]]


def hourly_cost(y: Any, u: Any) -> Any:
    """Fuel, and heat that has to be bought where the heater does not run [$/h]; the plant file's objective."""
    return FUEL_PRICE * y[2] + HEAT_PRICE * (HEATER - u[1])


def disturbances(rows: int, seed: int) -> Disturbances:
    """Load of the consumers [%], measured; exhaust temperature beyond the published [K], unmeasured."""

    def slow(name: str, minutes: float, spread: float) -> np.ndarray:
        rng = stream(seed, "gas-turbine", name)
        return wander(rows, step=SAMPLE_TIME, time_constant=60 * minutes, spread=spread, rng=rng)

    consumers = levels(
        rows,
        hold=lambda rng: int(rng.uniform(2.0, 15.0) * 60 / SAMPLE_TIME),
        draw=lambda rng: float(rng.uniform(-1.5, 1.5)),
        rng=stream(seed, "gas-turbine", "consumers"),
    )
    load = 62.0 + slow("load", 10.0, 1.0) + lagged(consumers, step=SAMPLE_TIME, time_constant=20.0)
    return Disturbances(d=load[:, None], w=slow("weather", 40.0, 3.0)[:, None])


def setpoints(rows: int, seed: int) -> np.ndarray:
    """None: the plant is run for its cost within limits."""
    return np.full((rows, 3), np.nan)


def crew(seed: int) -> Crew:
    """The speed reference in a slow loop, a third of the time in manual; the heater by hand, well below the limit."""
    reference = Drive(
        mv=0, cv=2, asked=0, liked=(99.6, 100.5), gain=0.3, reset_rows=15.0, low=100.0, high=105.5, by_hand=0.35,
        spell=60.0, look=12.0, size=0.15, band=0.4, digits=2,
    )  # fmt: skip
    heater = Drive(
        mv=1, cv=3, asked=1, liked=(488.0, 499.0), gain=0.1, reset_rows=60.0, low=5.0, high=44.0, by_hand=1.0,
        look=14.0, size=1.8, band=5.0, digits=1,
    )  # fmt: skip
    return Crew(seed, "gas-turbine", [reference, heater], SHIFT)


def make() -> ReferencePlant:
    """The turbine at rated speed with 62 % for the consumers and 30 % for the heater."""
    load = 0.92
    fuel = NO_LOAD_FUEL + load / TORQUE_FUEL
    exhaust = RATED_TEMPERATURE - HEAT_FUEL * (1.0 - fuel)
    reference = 1.0 + (fuel - NO_LOAD_FUEL) / (1.0 - NO_LOAD_FUEL) / GOVERNOR_GAIN
    published = ReferencePlant(
        name="gas-turbine",
        plant=packaged_plant("gas_turbine.yaml"),
        citation=CITATION,
        states=(
            "fuel [share of rated]",
            "gas at the turbine [share of rated]",
            "speed [share of rated]",
            "radiation shield [degC]",
            "thermocouple [degC]",
        ),
        unmeasured=("exhaust temperature beyond the published [K]",),
        x0=np.array([fuel, fuel, 1.0, exhaust, exhaust]),
        u0=np.array([100.0 * reference, 30.0]),
        d0=np.array([62.0]),
        w0=np.array([0.0]),
        equations=equations,
        outputs=outputs,
        margins={},
        noise=np.array([0.0, 0.0, 0.01, 0.4, 0.1, 0.1]),
        lab_error={},
        substeps=16,
        element_rows=1,  # one implicit step in place of eight explicit ones
        operator=crew,
        disturbances=disturbances,
        setpoints=setpoints,
        hourly_cost=hourly_cost,
    )
    return replace(published, x0=steady_state(published))
