"""A model's rows one after the other, compiled: between two calls numpy loses a microsecond, and a row has 15 of them.

Shapes: K plans, N rows of the horizon, D latent, U MVs, P tangents, H units of a layer, S states, Q units of products.
Scaled.

A plan's numbers do not depend on which others are rolled out with it. The matrices of a row fit no cache of one core
when the network is wide; each row of a matrix is read once for all plans, so that those that go along are cheap.
"""

from __future__ import annotations

import math

import numpy as np

from procmodel.data.kernels import compiled, contracted

_SHIFT = 1.5 * 2.0**52  # a float with it has its whole part in the lowest bits
_PER_OCTAVE, _OCTAVE_HIGH, _OCTAVE_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10


@compiled
def bend(values_H: np.ndarray) -> None:
    """tanh in place, to the last digit or two, several at once; no number stays none."""
    for i in range(len(values_H)):
        x = values_H[i]
        a = abs(x)
        a = -2.0 * (20.0 if a > 20.0 else a)
        shifted = a * _PER_OCTAVE + _SHIFT
        octaves = shifted - _SHIFT
        exponent = (np.float64(shifted).view(np.int64) + 1023) << 52
        power = np.int64(exponent).view(np.float64)
        r = (a - octaves * _OCTAVE_HIGH) - octaves * _OCTAVE_LOW
        q = 1.0 / 6227020800.0
        q = q * r + 1.0 / 479001600.0
        q = q * r + 1.0 / 39916800.0
        q = q * r + 1.0 / 3628800.0
        q = q * r + 1.0 / 362880.0
        q = q * r + 1.0 / 40320.0
        q = q * r + 1.0 / 5040.0
        q = q * r + 1.0 / 720.0
        q = q * r + 1.0 / 120.0
        q = q * r + 1.0 / 24.0
        q = q * r + 1.0 / 6.0
        q = q * r + 0.5
        q = (q * r + 1.0) * r  # exp(r) - 1
        less = power * q + (power - 1.0)  # exp(-2 |x|) - 1
        values_H[i] = math.copysign(-less / (2.0 + less), x)


@contracted
def _add(into_KO: np.ndarray, values_KI: np.ndarray, weight_IO: np.ndarray) -> None:
    """`into += values weight`."""
    plans, inner = values_KI.shape
    outer = into_KO.shape[1]
    fours = inner - inner % 4
    for j in range(0, fours, 4):
        for k in range(plans):
            a, b, c, d = values_KI[k, j], values_KI[k, j + 1], values_KI[k, j + 2], values_KI[k, j + 3]
            for i in range(outer):
                into_KO[k, i] += (a * weight_IO[j, i] + b * weight_IO[j + 1, i]) + (
                    c * weight_IO[j + 2, i] + d * weight_IO[j + 3, i]
                )
    for j in range(fours, inner):
        for k in range(plans):
            a = values_KI[k, j]
            for i in range(outer):
                into_KO[k, i] += a * weight_IO[j, i]


@compiled
def roll(
    z_NKD: np.ndarray,
    x_NKI: np.ndarray,
    layers: tuple[np.ndarray, ...],
    weights: tuple[np.ndarray, ...],
    biases: tuple[np.ndarray, ...],
    drive_NH: np.ndarray,
    drive_ND: np.ndarray,
    last: np.ndarray,
    linear: np.ndarray,
    quadratic_QE: np.ndarray,
    slope_SQ: np.ndarray,
) -> None:
    """Latents after each row into `z`, [N, K, D], units into `layers`, [N, K, H] each; `x` has room for [latent | MVs].

    Args:
        x_NKI: Row 0 with the latent, all rows with their MVs.
        weights, biases: Of the layers, the first one without bias: `drive_NH` adds it, with the DVs' share.
        drive_ND: What DVs and biases add to the latent.
        last, linear: Of the last layer [H, D] and of [latent | MVs], onto the latent.
        quadratic_QE: [Q, S * Q], of the last Q units of the first layer; without products S is 0.
    """
    steps, plans, size = z_NKD.shape
    states, units = slope_SQ.shape
    own = layers[0].shape[2] - units
    pull_E = np.empty(states * units)
    for n in range(steps):
        for k in range(plans):
            layers[0][n, k] = drive_NH[n]
            z_NKD[n, k] = drive_ND[n]
        _add(layers[0][n], x_NKI[n], weights[0])
        for k in range(plans):
            bend(layers[0][n, k])
        for i in range(1, len(layers)):
            for k in range(plans):
                layers[i][n, k] = biases[i]
            _add(layers[i][n], layers[i - 1][n], weights[i])
            for k in range(plans):
                bend(layers[i][n, k])
        _add(z_NKD[n], layers[-1][n], last)
        _add(z_NKD[n], x_NKI[n], linear)
        for k in range(plans if states else 0):
            g_Q = layers[0][n, k, own:]
            pull_E[:] = 0.0
            for q in range(units):
                for e in range(states * units):
                    pull_E[e] += g_Q[q] * quadratic_QE[q, e]
            for s in range(states):
                added = 0.0
                for q in range(units):
                    added += (pull_E[s * units + q] + slope_SQ[s, q]) * g_Q[q]
                z_NKD[n, k, s] += added
        if n + 1 < steps:
            x_NKI[n + 1, :, :size] = z_NKD[n]


@compiled
def pull_back(
    latents_ND: np.ndarray,
    moves_NU: np.ndarray,
    pulls: tuple[np.ndarray, ...],
    slopes: tuple[np.ndarray, ...],
    weights_T: tuple[np.ndarray, ...],
    last_T: np.ndarray,
    linear_T: np.ndarray,
    turn_NQS: np.ndarray,
) -> None:
    """One pass back along a plan: `latents` come as seeds and leave as adjoints, units' into `pulls`, [N, H] each.

    Args:
        slopes: Of the units' tanh.
        weights_T, last_T, linear_T: The matrices of `roll`, turned over.
        turn_NQS: Of the products, along the plan; without them Q is 0.
    """
    steps, size = latents_ND.shape
    units, states = turn_NQS.shape[1], turn_NQS.shape[2]
    own = pulls[0].shape[1] - units
    back = np.empty((1, linear_T.shape[1]))
    for n in range(steps - 1, -1, -1):
        back[:] = 0.0
        _add(back, latents_ND[n : n + 1], linear_T)
        for i in range(len(pulls) - 1, -1, -1):
            pull = pulls[i][n : n + 1]
            pull[:] = 0.0
            if i == len(pulls) - 1:
                _add(pull, latents_ND[n : n + 1], last_T)
            else:
                _add(pull, pulls[i + 1][n : n + 1] * slopes[i + 1][n : n + 1], weights_T[i + 1])
        for q in range(units):
            for s in range(states):
                pulls[0][n, own + q] += turn_NQS[n, q, s] * latents_ND[n, s]
        _add(back, pulls[0][n : n + 1] * slopes[0][n : n + 1], weights_T[0])
        moves_NU[n] = back[0, size:]
        if n:
            latents_ND[n - 1] += back[0, :size]


@compiled
def _bent(into_PP: np.ndarray, values_PH: np.ndarray, turned_HP: np.ndarray, bend_H: np.ndarray) -> None:
    """`into += values diag(bend) values'`; `turned` has room for the values turned over, zero beyond them."""
    begun, units = values_PH.shape
    for a in range(begun):
        for i in range(units):
            turned_HP[i, a] = values_PH[a, i]
    _add(into_PP, values_PH * bend_H, turned_HP)


@compiled
def push_on(
    found_NPD: np.ndarray,
    curvature_PP: np.ndarray,
    push_NPU: np.ndarray,
    begun_N: np.ndarray,
    layers: tuple[np.ndarray, ...],
    weights: tuple[np.ndarray, ...],
    slopes: tuple[np.ndarray, ...],
    bends: tuple[np.ndarray, ...],
    last: np.ndarray,
    linear: np.ndarray,
    turn_NQS: np.ndarray,
    twist_NQQ: np.ndarray,
) -> None:
    """Tangents of the latents into `found`, which comes as zeros, and curvature where there are `bends`.

    Args:
        begun_N: The first so many tangents are not zero in a row; never falls.
        layers: Room for the units' tangents, zeros [P, H] each.
        slopes, bends: Of the units, [N, H] each; bends of no row where no curvature is asked.
        turn_NQS, twist_NQQ: Slopes and second derivatives of the products; without them Q is 0.
    """
    steps, count, size = found_NPD.shape
    units, states = turn_NQS.shape[1], turn_NQS.shape[2]
    own = layers[0].shape[1] - units
    is_bent = len(bends[0]) > 0
    x_PI = np.zeros((count, len(linear)))
    widest = 0
    for layer in layers:
        widest = max(widest, layer.shape[1])
    turned_HP = np.zeros((widest, count))
    for n in range(steps):
        p = begun_N[n]
        x_PI[:p, size:] = push_NPU[n, :p]
        for i in range(len(layers)):
            into = layers[i][:p]
            into[:] = 0.0
            _add(into, x_PI[:p] if i == 0 else layers[i - 1][:p], weights[i])
            if is_bent:
                _bent(curvature_PP[:p], into, turned_HP[: into.shape[1]], bends[i][n])
            for a in range(p):
                for j in range(into.shape[1]):
                    into[a, j] *= slopes[i][n, j]
        after = found_NPD[n, :p]
        _add(after, layers[len(layers) - 1][:p], last)
        _add(after, x_PI[:p], linear)
        if units:
            seen_PQ = np.ascontiguousarray(layers[0][:p, own:])
            for a in range(p):
                for q in range(units):
                    for s in range(states):
                        after[a, s] += seen_PQ[a, q] * turn_NQS[n, q, s]
            if is_bent:
                twisted_PQ = np.zeros((p, units))
                _add(twisted_PQ, seen_PQ, twist_NQQ[n])
                for a in range(p):
                    for q in range(units):
                        turned_HP[q, a] = seen_PQ[a, q]
                _add(curvature_PP[:p], twisted_PQ, turned_HP[:units])
        x_PI[:p, :size] = after
