"""Clock shifts: a tag's stamps begin to run early or late against the other tags'. Shapes: T rows, C tags, N blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTNERS = 3
CORRELATED = 0.25
GAINED = 0.6
_LONGEST = 4500.0
_FEWEST_BLOCKS = 4


@dataclass(frozen=True, kw_only=True)
class ClockShift:
    """From row `at` on (within half a block) the tag in column `column` is `rows` rows late; early where negative.

    Attributes:
        gained: How much better the other tags fit after the shift is undone, as a correlation [-].
        partners: Columns of the tags that say so.
    """

    column: int
    at: int
    rows: int
    gained: float
    partners: tuple[int, ...]


def clock_shifts(values_TC: np.ndarray, step: float) -> list[ClockShift]:
    """Tags whose lag against related tags jumps, and stays.

    The record is cut into blocks of six times the longest lag looked for (75 min, or a 24th of the record). In each
    block the cross-correlation of every pair of tags is taken over all lags, of their movements (differences from a
    running mean of a quarter block). For each border between two blocks the mean correlation before it has its peak at
    one lag, that after it at another; a pair has shifted where each half fits its own lag better than the other's, by
    `GAINED` (0.6) on either side, and both peaks exceed `CORRELATED`: on clean records of the reference plants, whose
    few blocks correlate by chance too, the largest gain was 0.5, and shifts of strongly related tags gained 0.6 to 1.2.
    A tag is named where most of its related tags (at most three, the best; at least two) agree on the shift within two
    rows. Of two tags alone the later column is named, as nothing tells which clock was wrong. A tag that moves with no
    other cannot be judged.

    Args:
        values_TC: One stretch on the grid, NaN in a gap.
        step: Of the grid [s].
    """
    rows, columns = values_TC.shape
    longest = min(int(_LONGEST / step), rows // 24)
    if longest < 3 or columns < 2:
        return []
    size = 6 * longest
    count = rows // size
    if count < _FEWEST_BLOCKS:
        return []
    spectra = [_spectra(values_TC[:, c], size, count, longest) for c in range(columns)]
    shifted: dict[tuple[int, int], tuple[int, int, float]] = {}
    related: dict[int, list[tuple[float, int]]] = {c: [] for c in range(columns)}
    for i in range(columns):
        for j in range(i + 1, columns):
            found = _pair(spectra[i], spectra[j], longest)
            if found is None:
                continue
            strength, shift = found
            related[i].append((strength, j))
            related[j].append((strength, i))
            if shift is not None:
                shifted[i, j] = shift
                shifted[j, i] = (shift[0], -shift[1], shift[2])
    return _blamed(shifted, related, size)


def _spectra(values_T: np.ndarray, size: int, count: int, longest: int) -> np.ndarray:
    """Of each block's movements, unit energy, padded against wrapping, [N, F]; a gap adds nothing."""
    known = np.isfinite(values_T)
    centre = float(np.mean(values_T[known])) if known.any() else 0.0
    filled = np.where(known, values_T - centre, 0.0)
    width = max(3, size // 4)
    window = np.ones(width)
    mean = np.convolve(filled, window, "same") / np.maximum(np.convolve(known.astype(float), window, "same"), 1.0)
    moves = np.where(known, filled - mean, 0.0)[: size * count].reshape(count, size)
    energy = np.sqrt((moves**2).sum(axis=1, keepdims=True))
    unit = np.where(energy > 0, moves / np.where(energy > 0, energy, 1.0), 0.0)
    return np.asarray(np.fft.rfft(unit, n=size + longest + 1, axis=1))


def _pair(a_NF: np.ndarray, b_NF: np.ndarray, longest: int) -> tuple[float, tuple[int, int, float] | None] | None:
    """Strength of the relation, and where it shifts: (border, rows that `a` is late from there on, gained).

    None: the two do not move together.
    """
    size = 2 * (a_NF.shape[1] - 1)
    whole = np.fft.irfft(a_NF * np.conj(b_NF), n=size, axis=1)
    lags_NL = np.concatenate([whole[:, -longest:], whole[:, : longest + 1]], axis=1)
    strength = float(np.abs(lags_NL.mean(axis=0)).max())
    count = len(lags_NL)
    sums = np.cumsum(lags_NL, axis=0)
    best: tuple[int, int, float] | None = None
    for border in range(1, count):
        before, after = sums[border - 1] / border, (sums[-1] - sums[border - 1]) / (count - border)
        p, q = int(np.argmax(np.abs(before))), int(np.argmax(np.abs(after)))
        sign_p, sign_q = np.sign(before[p]), np.sign(after[q])
        strength = max(strength, min(abs(before[p]), abs(after[q])))
        if p == q or sign_p != sign_q or min(abs(before[p]), abs(after[q])) < CORRELATED:
            continue
        gained = float(sign_p * min(before[p] - before[q], after[q] - after[p]))
        if gained > GAINED and (best is None or gained > best[2]):
            best = (border, q - p, gained)
    return (strength, best) if strength >= CORRELATED else None


def _blamed(
    shifted: dict[tuple[int, int], tuple[int, int, float]], related: dict[int, list[tuple[float, int]]], size: int
) -> list[ClockShift]:
    """The tags on which most related tags agree."""
    alone = len(related) == 2
    found = []
    for column, partners in related.items():
        asked = [j for _, j in sorted(partners, reverse=True)[:PARTNERS]]
        said = [(shifted[column, j], j) for j in asked if (column, j) in shifted]
        if not said:
            continue
        rows = int(np.median([shift[1] for shift, _ in said]))
        agree = [(shift, j) for shift, j in said if abs(shift[1] - rows) <= 2]
        if 2 * len(agree) > len(asked) and (len(agree) > 1 or (alone and column == 1)):
            border = int(np.median([shift[0] for shift, _ in agree]))
            found.append(
                ClockShift(
                    column=column, at=border * size, rows=rows, gained=float(np.mean([s[2] for s, _ in agree])),
                    partners=tuple(j for _, j in agree),
                )
            )  # fmt: skip
    return found
