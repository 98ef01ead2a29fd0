"""Known linear systems and the records they leave, open loop and under feedback."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.world_model.linear import Arx


def known_arx(lags: int = 3) -> Arx:
    """Two CVs, two inputs; stable, with an answer within the row."""
    rng = np.random.default_rng(11)
    a = 0.12 * rng.normal(size=(lags, 2, 2))
    a[0] += np.diag([0.7, 0.6])
    return Arx(a=a, b=0.3 * rng.normal(size=(lags, 2, 2)), bias=np.array([0.3, -0.2]), noise=np.zeros((2, 2)))


def arx_record(
    arx: Arx, rows: int, *, seed: int, noise: float = 0.0, feedback: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """One of `arx_records`."""
    return arx_records(arx, 1, rows, seed=seed, noise=noise, feedback=feedback)[0]


def arx_records(
    arx: Arx, count: int, rows: int, *, seed: int, noise: float, feedback: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Runs of CVs [T, Y] and inputs [T, V]; the inputs are random, less `feedback` times the CVs before."""
    rng = np.random.default_rng(seed)
    y, v = np.zeros((rows, count, 2)), rng.normal(size=(rows, count, 2))
    errors = noise * rng.normal(size=(rows, count, 2))
    for t in range(rows):
        if t:
            v[t] -= feedback * y[t - 1]
        y[t] = arx.bias + errors[t]
        for i in range(min(arx.lags, t)):
            y[t] += y[t - 1 - i] @ arx.a[i].T + v[t - i] @ arx.b[i].T
    return [(y[:, i], v[:, i]) for i in range(count)]


@dataclass(frozen=True)
class Innovations:
    """`X+ = A X + B v+ + A K e`, `y = C X + e`: two states, two inputs, two CVs."""

    A = np.array([[0.9, 0.1], [-0.05, 0.7]])
    B = np.array([[0.2, 0.05], [-0.1, 0.3]])
    C = np.array([[1.0, 0.2], [0.1, 1.0]])
    K = np.array([[0.5, 0.1], [0.0, 0.4]])

    def steady_gain(self) -> np.ndarray:
        return self.C @ np.linalg.inv(np.eye(2) - self.A) @ self.B

    def records(
        self, count: int, rows: int, *, seed: int, noise: float, feedback: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Runs of CVs [T, Y] and inputs [T, V]; the inputs are random, less `feedback` times the CVs before."""
        rng = np.random.default_rng(seed)
        y, v = np.zeros((rows, count, 2)), 0.5 * rng.normal(size=(rows, count, 2))
        e, x = noise * rng.normal(size=(rows, count, 2)), np.zeros((count, 2))
        for t in range(rows):
            v[t] -= feedback * (y[t - 1] if t else 0)
            x = x @ self.A.T + v[t] @ self.B.T
            y[t] = x @ self.C.T + e[t]
            x = x + e[t] @ self.K.T
        return [(y[:, i], v[:, i]) for i in range(count)]
