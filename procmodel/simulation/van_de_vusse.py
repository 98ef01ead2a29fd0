"""The Van de Vusse reactor with its temperature loop and an operator at the feed.

Klatt, K.-U. and Engell, S. (1998). Gain-scheduling trajectory control of a continuous stirred tank reactor. Computers
and Chemical Engineering 22(4-5), 491-502; the same reactor with a colder feed in Chen, H., Kremling, A. and Allgoewer,
F. (1995). Nonlinear predictive control of a benchmark CSTR. European Control Conference, 3247-3252.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from procmodel.simulation.arithmetic import exponential
from procmodel.simulation.crew import Crew, Drive
from procmodel.simulation.reference import Disturbances, ReferencePlant, packaged_plant, steady_state
from procmodel.simulation.signals import lagged, levels, stream, wander

CITATION = "Klatt and Engell (1998), Computers and Chemical Engineering 22(4-5), 491-502"

FREQUENCY_AB, FREQUENCY_BC = 1.287e12, 1.287e12  # k10, k20 [1/h]
FREQUENCY_AD = 9.043e9  # k30 [L/(mol h)]
ACTIVATION_AB, ACTIVATION_BC, ACTIVATION_AD = 9758.3, 9758.3, 8560.0  # E / R [K]
HEAT_AB, HEAT_BC, HEAT_AD = 4.2, -11.0, -41.85  # reaction enthalpies [kJ/mol]
DENSITY, HEAT_CAPACITY, VOLUME = 0.9342, 3.01, 10.0  # [kg/L], [kJ/(kg K)], [L]
TRANSFER = 4032.0 * 0.215  # kw AR [kJ/(h K)]
JACKET = 5.0 * 2.0  # mK CPK [kJ/K]
REFERENCE_KELVIN = 407.29  # of the published steady state, so that `exponential` sees small numbers only [K]

SAMPLE_TIME = 20.0  # [s], as in the plant file
SHIFT = 1440  # rows in 8 h


def _rate(frequency: float, activation: float, kelvin: Any) -> Any:
    """Arrhenius' law [1/h] or [L/(mol h)]."""
    at_reference = frequency * math.exp(-activation / REFERENCE_KELVIN)
    return at_reference * exponential(activation * (kelvin - REFERENCE_KELVIN) / (REFERENCE_KELVIN * kelvin))


def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Rates per second of cA, cB [mol/L], reactor and jacket temperature [degC].

    u feed per volume [1/h] and cooling duty [kJ/h]; d feed temperature [degC]; w concentration of A in the feed
    [mol/L].
    """
    a, b, temperature, jacket = x[0], x[1], x[2], x[3]
    kelvin = temperature + 273.15
    to_b = _rate(FREQUENCY_AB, ACTIVATION_AB, kelvin) * a
    to_c = _rate(FREQUENCY_BC, ACTIVATION_BC, kelvin) * b
    to_d = _rate(FREQUENCY_AD, ACTIVATION_AD, kelvin) * a * a
    capacity = DENSITY * HEAT_CAPACITY
    released = -(HEAT_AB * to_b + HEAT_BC * to_c + HEAT_AD * to_d) / capacity
    exchanged = TRANSFER * (jacket - temperature)
    return [
        (u[0] * (w[0] - a) - to_b - to_d) / 3600.0,
        (-u[0] * b + to_b - to_c) / 3600.0,
        (u[0] * (d[0] - temperature) + released + exchanged / (capacity * VOLUME)) / 3600.0,
        (-u[1] - exchanged) / (JACKET * 3600.0),
    ]


def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Concentration of B [mol/L], reactor and jacket temperature [degC]."""
    return [x[1], x[2], x[3]]


def disturbances(rows: int, seed: int) -> Disturbances:
    """Feed temperature [degC]; strength of the feed, unmeasured [mol/L], within the published 4.5 to 5.7."""

    def slow(name: str, minutes: float, spread: float) -> np.ndarray:
        rng = stream(seed, "van-de-vusse", name)
        return wander(rows, step=SAMPLE_TIME, time_constant=60 * minutes, spread=spread, rng=rng)

    batches = levels(
        rows,
        hold=lambda rng: int(rng.uniform(1.0, 5.0) * 3600 / SAMPLE_TIME),
        draw=lambda rng: float(rng.uniform(-0.2, 0.2)),
        rng=stream(seed, "van-de-vusse", "batches"),
    )
    strength = 5.1 + slow("strength", 20.0, 0.03) + lagged(batches, step=SAMPLE_TIME, time_constant=120.0)
    return Disturbances(d=(130.0 + slow("warmth", 40.0, 0.6))[:, None], w=np.clip(strength, 4.5, 5.7)[:, None])


def setpoints(rows: int, seed: int) -> np.ndarray:
    """What the operator is asked for: concentration and temperature, each changed every 40 min to 2.5 h."""
    return _schedule(rows, seed, "setpoints", shortest=2400.0, longest=9000.0)


def task(rows: int, seed: int) -> np.ndarray:
    """Setpoints of a closed-loop trial: each changed every 12 to 25 min, up to 0.5 degC below the temperature limit."""
    return _schedule(rows, seed, "task", shortest=720.0, longest=1500.0)


def _schedule(rows: int, seed: int, name: str, shortest: float, longest: float) -> np.ndarray:
    table = np.full((rows, 3), np.nan)
    for column, low, high, digits in ((0, 0.80, 1.0, 2), (1, 131.0, 135.5, 1)):
        table[:, column] = levels(
            rows,
            hold=lambda rng: int(rng.uniform(shortest, longest) / SAMPLE_TIME),
            draw=lambda rng, low=low, high=high, digits=digits: round(float(rng.uniform(low, high)), digits),  # type: ignore[misc]
            rng=stream(seed, "van-de-vusse", name, str(column)),
        )
    return table


def crew(seed: int) -> Crew:
    """The temperature loop on the cooling, a fifth of the time in manual; the feed by hand for the concentration."""
    feed = Drive(
        mv=0, cv=2, asked=0, liked=(0.85, 0.95), gain=20.0, reset_rows=30.0, low=8.0, high=32.0, by_hand=1.0, look=18.0,
        size=2.0, band=0.04, digits=1,
    )  # fmt: skip
    cooling = Drive(
        mv=1, cv=3, asked=1, liked=(132.0, 135.0), gain=-250.0, reset_rows=12.0, low=300.0, high=8700.0, by_hand=0.2,
        spell=120.0, look=12.0, size=500.0, band=2.0, digits=0,
    )  # fmt: skip
    return Crew(seed, "van-de-vusse", [feed, cooling], SHIFT)


def make() -> ReferencePlant:
    """The reactor at the published operating point: cB = 0.9 mol/L at 134.14 degC, fed with 18.83 1/h."""
    published = ReferencePlant(
        name="van-de-vusse",
        plant=packaged_plant("van_de_vusse.yaml"),
        citation=CITATION,
        states=("cA [mol/L]", "cB [mol/L]", "reactor temperature [degC]", "jacket temperature [degC]"),
        unmeasured=("A in the feed [mol/L]",),
        x0=np.array([1.235, 0.9, 134.14, 128.95]),
        u0=np.array([18.83, 4495.7]),
        d0=np.array([130.0]),
        w0=np.array([5.1]),
        equations=equations,
        outputs=outputs,
        margins={},
        noise=np.array([0.0, 0.0, 0.004, 0.1, 0.1, 0.1]),
        lab_error={},
        substeps=2,
        operator=crew,
        disturbances=disturbances,
        setpoints=setpoints,
        task=task,
    )
    return replace(published, x0=steady_state(published))  # the published digits, carried to where nothing moves
