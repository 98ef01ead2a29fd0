"""Skogestad's column A in the LV configuration, with its two level loops closed.

Skogestad, S. and Postlethwaite, I. (1996). Multivariable Feedback Control. Wiley, section 12.4; data and steady state
in Skogestad, S. (1997). Dynamics and control of distillation columns: a tutorial introduction. Chemical Engineering
Research and Design 75(A), 539-562. 41 stages counted from the bottom: reboiler, 39 trays, total condenser; constant
relative volatility and molar flows, linear tray hydraulics.

Shapes: S stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from procmodel.simulation.crew import Crew, Drive
from procmodel.simulation.reference import Disturbances, ReferencePlant, packaged_plant, steady_state
from procmodel.simulation.signals import lagged, levels, stream, wander

CITATION = "Skogestad (1997), Chemical Engineering Research and Design 75(A), 539-562, column A"

STAGES, FEED_STAGE = 41, 20  # NT, and NF = 21 counted from one
VOLATILITY = 1.5  # alpha [-]
HOLDUP = 0.5  # of every stage at rest, M0 [kmol]
HYDRAULIC = 0.063  # tauL [min]
FEED, FEED_LIGHT = 1.0, 0.5  # F [kmol/min], zF [-]; the feed is liquid (qF = 1)
REFLUX, BOILUP = 2.70629, 3.20629  # L0, V0 [kmol/min]
PRODUCT = 0.5  # D and B at rest [kmol/min]
LEVEL_GAIN = 10.0  # KcD, KcB of the two level loops [1/min]

SAMPLE_TIME = 60.0  # [s], as in the plant file
SUBSTEPS = 16  # of 3.75 s: the fastest stage answers within 2 s, where Runge-Kutta is stable up to 5 s
SHIFT = 480  # rows in 8 h


def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Rates per second of the light fraction [-] and the holdup [kmol] of every stage, reboiler first.

    u reflux and boilup [kmol/min]; d feed [kmol/min]; w light fraction of the feed [-].
    """
    top = STAGES - 1
    light, held = [x[i] for i in range(STAGES)], [x[STAGES + i] for i in range(STAGES)]
    vapour = [VOLATILITY * a / (1.0 + (VOLATILITY - 1.0) * a) for a in light[:top]]
    at_rest = [REFLUX + (FEED if i <= FEED_STAGE else 0.0) for i in range(top)]
    down = [at_rest[i] + (held[i] - HOLDUP) / HYDRAULIC for i in range(top)] + [u[0]]
    distillate = PRODUCT + LEVEL_GAIN * (held[top] - HOLDUP)
    bottoms = PRODUCT + LEVEL_GAIN * (held[0] - HOLDUP)
    # Total and light balance of each stage [kmol/min].
    total = [down[1] - u[1] - bottoms, *(down[i + 1] - down[i] for i in range(1, top)), u[1] - u[0] - distillate]
    share = [
        down[1] * light[1] - u[1] * vapour[0] - bottoms * light[0],
        *(down[i + 1] * light[i + 1] - down[i] * light[i] + u[1] * (vapour[i - 1] - vapour[i]) for i in range(1, top)),
        u[1] * vapour[top - 1] - (u[0] + distillate) * light[top],
    ]
    total[FEED_STAGE] = total[FEED_STAGE] + d[0]
    share[FEED_STAGE] = share[FEED_STAGE] + d[0] * w[0]
    richer = [(share[i] - light[i] * total[i]) / held[i] / 60.0 for i in range(STAGES)]
    return richer + [rate / 60.0 for rate in total]


def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
    """Light component in distillate and bottoms [%]."""
    return [100.0 * x[STAGES - 1], 100.0 * x[0]]


class ColumnRow:
    """A row of the column with all stages at once: 82 states in plain floats would take ten times as long.

    The same balances, with what flows in and out of a stage in arrays: the light fraction rises by
    `(in (x_above - x) + V (y_below - y) - rest x + F zF) / M`, where `rest` is what the total balance adds to
    `in - out`.
    """

    def __init__(self) -> None:
        s = STAGES
        self._slope = np.array([LEVEL_GAIN, *[1.0 / HYDRAULIC] * (s - 2), LEVEL_GAIN])  # of the outflow by the holdup
        rest = np.where(np.arange(s) <= FEED_STAGE, REFLUX + FEED, REFLUX)
        rest[[0, -1]] = PRODUCT
        self._offset = rest - self._slope * HOLDUP
        self._distillate = float(self._offset[-1])
        self._out, self._in, self._rest, self._work = np.empty(s), np.zeros(s), np.zeros(s), np.empty(s)
        self._rise, self._vapour = np.zeros(s), np.zeros(s + 1)
        self._stages = [np.empty((2, s)) for _ in range(4)]
        self._trial = np.empty((2, s))

    def __call__(
        self, x: Sequence[float], u: Sequence[float], d: Sequence[float], w: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """State at the end of the row and averages of the CVs over it, by Runge-Kutta steps."""
        step = SAMPLE_TIME / 60.0 / SUBSTEPS
        self._in[-2] = u[0]
        self._offset[-1] = self._distillate + u[0]  # the condenser gives off distillate and reflux
        self._rest[0], self._rest[FEED_STAGE], self._rest[-1] = -u[1], d[0], u[1]
        boilup, light_feed = VOLATILITY * u[1], d[0] * w[0]
        k1, k2, k3, k4 = self._stages
        trial = self._trial
        state = np.array(x, dtype=float).reshape(2, STAGES)
        ends = [(state[0, -1], state[0, 0])]
        for _ in range(SUBSTEPS):
            self._rates(state, boilup, light_feed, k1)
            for before, after, part in ((k1, k2, 0.5 * step), (k2, k3, 0.5 * step), (k3, k4, step)):
                np.multiply(before, part, out=trial)
                trial += state
                self._rates(trial, boilup, light_feed, after)
            k2 += k3
            k2 *= 2.0
            k2 += k1
            k2 += k4
            k2 *= step / 6.0
            state += k2
            ends.append((state[0, -1], state[0, 0]))
        return state.ravel().tolist(), (100.0 * (_SIMPSON @ np.array(ends))).tolist()

    def _rates(self, state: np.ndarray, boilup: float, light_feed: float, found: np.ndarray) -> None:
        """Light fractions' and holdups' rates per minute into `found`, [2, S]."""
        (light, held), (richer, total) = state, found
        work, vapour, rise = self._work, self._vapour, self._rise
        np.multiply(light, VOLATILITY - 1.0, out=work)
        work += 1.0
        np.divide(light[:-1], work[:-1], out=vapour[1:-1])  # nothing rises into the reboiler or out of the condenser
        np.multiply(self._slope, held, out=self._out)
        self._out += self._offset
        self._in[:-2] = self._out[1:-1]
        np.subtract(light[1:], light[:-1], out=rise[:-1])
        np.multiply(rise, self._in, out=richer)
        np.subtract(vapour[:-1], vapour[1:], out=work)
        work *= boilup
        richer += work
        np.multiply(light, self._rest, out=work)
        richer -= work
        richer[FEED_STAGE] += light_feed
        richer /= held
        np.subtract(self._in, self._out, out=total)
        total += self._rest


_SIMPSON: np.ndarray = np.array([1.0, *([4.0, 2.0] * (SUBSTEPS // 2))])
_SIMPSON[-1] = 1.0
_SIMPSON /= 3.0 * SUBSTEPS


def disturbances(rows: int, seed: int) -> Disturbances:
    """Feed [kmol/min], measured; its light fraction [-], unmeasured. Both slow, with changes now and then."""

    def drawn(name: str, hours: float, spread: float, change: float) -> np.ndarray:
        slow = wander(
            rows, step=SAMPLE_TIME, time_constant=3600 * hours, spread=spread, rng=stream(seed, "column", name)
        )
        changes = levels(
            rows,
            hold=lambda rng: int(rng.uniform(2.0, 8.0) * 60),
            draw=lambda rng: float(rng.uniform(-change, change)),
            rng=stream(seed, "column", name, "changes"),
        )
        return np.asarray(slow + lagged(changes, step=SAMPLE_TIME, time_constant=600.0))

    feed, light = drawn("feed", 2.0, 0.008, 0.02), drawn("light", 3.0, 0.004, 0.01)
    return Disturbances(d=(FEED + feed)[:, None], w=(FEED_LIGHT + light)[:, None])


def setpoints(rows: int, seed: int) -> np.ndarray:
    """What the operators are asked for: both purities [%], each changed every 3 to 10 h."""
    return _schedule(rows, seed, "setpoints", shortest=3.0, longest=10.0)


def task(rows: int, seed: int) -> np.ndarray:
    """Setpoints of a closed-loop trial [%]: each is changed every 1 to 3 h, up to the edge of its limit."""
    return _schedule(rows, seed, "task", shortest=1.0, longest=3.0)


def _schedule(rows: int, seed: int, name: str, shortest: float, longest: float) -> np.ndarray:
    table = np.empty((rows, 2))
    for column, (low, high) in enumerate(((98.6, 99.3), (0.7, 1.4))):
        table[:, column] = levels(
            rows,
            hold=lambda rng: int(rng.uniform(shortest, longest) * 60),
            draw=lambda rng, low=low, high=high: round(float(rng.uniform(low, high)), 2),  # type: ignore[misc]
            rng=stream(seed, "column", name, str(column)),
        )
    return table


def crew(seed: int) -> Crew:
    """Both purities in slow PI loops, a quarter of the time in manual: the reflux for the top, the boilup for the
    bottom, both much slower than Skogestad's own tuning (26.1 and 37.5 kmol/min, 3.8 and 3.3 min)."""
    top = Drive(
        mv=0, cv=2, asked=0, liked=(98.8, 99.2), gain=0.04, reset_rows=20.0, low=2.3, high=3.3, by_hand=0.25,
        spell=60.0, look=10.0, size=0.02, band=0.3, digits=4,
    )  # fmt: skip
    bottom = Drive(
        mv=1, cv=3, asked=1, liked=(0.8, 1.2), gain=-0.06, reset_rows=20.0, low=2.8, high=3.7, by_hand=0.25,
        spell=60.0, look=10.0, size=0.02, band=0.3, digits=4,
    )  # fmt: skip
    return Crew(seed, "distillation-column", [top, bottom], SHIFT)


def make() -> ReferencePlant:
    """The column at its published steady state: 99 % light in the distillate, 1 % in the bottoms."""
    start = np.concatenate([np.linspace(0.01, 0.99, STAGES), np.full(STAGES, HOLDUP)])
    published = ReferencePlant(
        name="distillation-column",
        plant=packaged_plant("distillation_column.yaml"),
        citation=CITATION,
        states=(
            *(f"light fraction of stage {i + 1} [-]" for i in range(STAGES)),
            *(f"holdup of stage {i + 1} [kmol]" for i in range(STAGES)),
        ),
        unmeasured=("light fraction of the feed [-]",),
        x0=start,
        u0=np.array([REFLUX, BOILUP]),
        d0=np.array([FEED]),
        w0=np.array([FEED_LIGHT]),
        equations=equations,
        outputs=outputs,
        margins={},
        noise=np.array([0.0, 0.0, 0.02, 0.02, 0.002]),
        lab_error={},
        substeps=SUBSTEPS,
        row=ColumnRow,
        element_rows=3,
        operator=crew,
        disturbances=disturbances,
        setpoints=setpoints,
        task=task,
    )
    return replace(published, x0=steady_state(published))
