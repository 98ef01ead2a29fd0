"""How many labels does a constraint head need, and does its lower bound hold on rollouts of campaigns it never saw?

The quadruple tank's fourth tank has no level sensor. Labels are dipped in campaigns (runs of an operator in weather of
their own), one per campaign, with the laboratory's error; judged is on other campaigns, 0..60 rows ahead, over the
recorded moves. A label is drawn per campaign, so that blocks are campaigns.

    coverage_shortfall  largest of nominal minus empirical coverage of the true margin (a head's confidence speaks of
                        that one) over rows ahead, at 90 and 95 %, for every number of labels that carries it

Against the dipped margin, which has the laboratory's error in it, coverage is shown beside it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from experiments.contract import Outcome, run_experiment
from experiments.learned import Learned, learned
from procmodel.constraints.calibration import allowances, least_labels
from procmodel.constraints.classes import classify
from procmodel.constraints.features import Features, candidates
from procmodel.constraints.fit import HeadSamples, chosen, left_out_excess, samples_of
from procmodel.data.window import Columns
from procmodel.data.windows import Windows
from procmodel.errors import GateError, LabelError
from procmodel.simulation.operation import operate
from procmodel.training.calibrate import _roll_to

HEAD = "tank4_margin"
COUNTS, CONFIDENCES = (2, 5, 10, 20, 40), (0.9, 0.95)
ROWS, HORIZON = 260, 60
CALIBRATION_SEED, TEST_SEED = 3000, 6000


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Candidate labels: latents [N, 1 + H, D] (column 0 encoded), true margin [N], dipped margin [N], campaign [N]."""

    ahead_NHD: np.ndarray
    true_N: np.ndarray
    dipped_N: np.ndarray
    campaign_N: np.ndarray


def pool(known: Learned, campaigns: int, each: int, seed: int) -> Pool:
    """`each` candidates from so many campaigns."""
    model, scaler, plant = known.artifact.model, known.artifact.scaler, known.plant
    columns, rng = Columns.of(plant), np.random.default_rng(seed)
    ahead, true, campaign = [], [], []
    for c in range(campaigns):
        run = operate(known.reference, rows=ROWS, seed=seed + c)
        windows = Windows(run.rows, scaler, columns, dtype=torch.float64)
        for row in rng.choice(np.arange(model.rows + HORIZON, ROWS), each, replace=False):
            with torch.no_grad():
                now = model.encode(windows.batch(torch.tensor([int(row) - model.rows + 1]), model.rows)).numpy()
            ahead.append(np.concatenate([now, _roll_to(model, windows, int(row), 0, HORIZON)]))
            true.append(run.margins[row, 0])
            campaign.append(c)
    true_N = np.array(true)
    return Pool(
        ahead_NHD=np.array(ahead),
        true_N=true_N,
        dipped_N=true_N + known.reference.lab_error[HEAD] * rng.standard_normal(len(true_N)),
        campaign_N=np.array(campaign),
    )


def drawn(labels: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many candidates, each of another campaign; both safe and unsafe ones, since that is what people label."""
    order = rng.permutation(len(labels.true_N))
    unsafe = labels.dipped_N[order] < 0
    few = order[unsafe][np.unique(labels.campaign_N[order[unsafe]], return_index=True)[1]]
    few = rng.permutation(few)[: max(1, count // 2)]
    rest = order[~unsafe & ~np.isin(labels.campaign_N[order], labels.campaign_N[few])]
    many = rest[np.unique(labels.campaign_N[rest], return_index=True)[1]]
    return np.concatenate([few, rng.permutation(many)[: count - len(few)]])


def at_random(labels: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many candidates as they come, each of another campaign: exchangeable with what is to come."""
    order = rng.permutation(len(labels.true_N))
    _, first = np.unique(labels.campaign_N[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:count])


def samples(labels: Pool, at: np.ndarray, background: HeadSamples) -> HeadSamples:
    """What a head learns from."""
    return replace(
        background,
        margins_N=labels.dipped_N[at],
        encoded_ND=labels.ahead_NHD[at, 0],
        rolled_NHD=labels.ahead_NHD[at, 1:],
        block_N=np.unique(labels.campaign_N[at], return_inverse=True)[1],
    )


def background_of(known: Learned) -> HeadSamples:
    """The many unlabelled latents of the record."""
    model, dataset, columns = known.artifact.model, known.dataset, Columns.of(known.plant)
    windows = Windows(dataset.values, known.artifact.scaler, columns, dtype=torch.float64)
    starts = windows.starts(dataset.stretches, model.rows)
    some = starts[torch.linspace(0, len(starts) - 1, 1500).long()]
    with torch.no_grad():
        latents = model.encode(windows.batch(some, model.rows)).numpy()
    guides = dataset.values[some.numpy() + model.rows - 1][:, [*columns.cv, *columns.mv, *columns.dv]]
    nothing = np.empty((0, model.latent_size))
    return HeadSamples(
        margins_N=np.empty(0), encoded_ND=nothing, rolled_NHD=nothing[:, None], background_MD=latents, guides_MG=guides
    )


def coverage(known: Learned, labels: Pool, test: Pool, background: HeadSamples, draws: int) -> dict[str, Any]:
    """Empirical coverage of the lower bound by rows ahead, mean over draws of labels, by count and confidence."""
    families = list(candidates(background.background_MD, background.guides_MG))
    out: dict[str, Any] = {}
    for count in (c for c in COUNTS if c <= len(np.unique(labels.campaign_N))):
        rng = np.random.default_rng([1, count])
        kept: dict[float, list[np.ndarray]] = {c: [] for c in CONFIDENCES}
        dipped: dict[float, list[np.ndarray]] = {c: [] for c in CONFIDENCES}
        if count < least_labels(min(CONFIDENCES)):
            out[str(count)] = {str(c): f"refused: needs {least_labels(c)} labels" for c in CONFIDENCES}
            continue
        for _ in range(draws):
            given = samples(labels, at_random(labels, count, rng), background)
            features, ridge = chosen(families, given, given.block_N)
            excess_NH = left_out_excess(families, given, given.block_N)
            found_NH = predicted(features, ridge.weights_F, ridge.offset, test.ahead_NHD)
            for confidence in CONFIDENCES:
                if count < least_labels(confidence):
                    continue
                bound_NH = found_NH - allowances(excess_NH, confidence, constraint=HEAD, first=0)
                kept[confidence].append(np.mean(test.true_N[:, None] >= bound_NH, axis=0))
                dipped[confidence].append(np.mean(test.dipped_N[:, None] >= bound_NH, axis=0))
        out[str(count)] = {
            str(c): _summary(c, np.array(kept[c]), np.array(dipped[c]))
            if kept[c]
            else f"refused: needs {least_labels(c)} labels"
            for c in CONFIDENCES
        }
    return out


def _summary(confidence: float, true_RH: np.ndarray, dipped_RH: np.ndarray) -> dict[str, Any]:
    by_true, by_dipped = true_RH.mean(axis=0), dipped_RH.mean(axis=0)
    return {
        "true_margin_every_sixth_row": [round(float(v), 4) for v in by_true[::6]],
        "dipped_margin_every_sixth_row": [round(float(v), 4) for v in by_dipped[::6]],
        "least": float(by_true.min()),
        "shortfall_of_true_margin": float(confidence - by_true.min()),
        "shortfall_of_dipped_margin": {
            "now": float(confidence - by_dipped[0]),
            "ahead": float(confidence - by_dipped[1:].min()),
        },
        "spread_over_draws": float(true_RH.std(axis=0).max()),
        "draws": len(true_RH),
    }


def predicted(features: Features, weights_F: np.ndarray, offset: float, ahead_NHD: np.ndarray) -> np.ndarray:
    """Margin or score [N, 1 + H]."""
    flat = features.of(ahead_NHD.reshape(-1, ahead_NHD.shape[2])) @ weights_F + offset
    return np.asarray(flat.reshape(ahead_NHD.shape[:2]))


def misses(labels: Pool, test: Pool, background: HeadSamples, draws: int) -> dict[str, Any]:
    """By kind and count: unsafe states taken for safe and safe ones for unsafe, now and 30 rows ahead; without an
    allowance, and with that of 90 % where the labels carry it."""
    families = list(candidates(background.background_MD, background.guides_MG))
    out: dict[str, Any] = {}
    for kind in ("regression", "logistic", "hinge"):
        for count in (c for c in COUNTS if c <= len(np.unique(labels.campaign_N))):
            rng, rows = np.random.default_rng([2, count]), []
            for _ in range(draws):
                given = samples(labels, drawn(labels, count, rng), background)
                rows.append(_judged(kind, families, given, test))
            out.setdefault(kind, {})[str(count)] = {
                **{key: _mean([r[key] for r in rows]) for key in rows[0]},
                "refused_at_90": sum(r["miss_90_now"] is None for r in rows) / len(rows),
            }
    return out


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _judged(kind: str, families: list[Features], given: HeadSamples, test: Pool) -> dict[str, float | None]:
    unsafe = test.true_N < 0
    assert given.block_N is not None
    allowance = None
    try:
        if kind == "regression":
            with np.errstate(
                invalid="ignore", divide="ignore"
            ):  # two labels, one left out: nothing is left to judge by
                features, flat = chosen(families, given, given.block_N)
                excess_NH = left_out_excess(families, given, given.block_N)
        else:
            features, flat, score_NH = classify(HEAD, kind, families[:4], samples_of(given, given.block_N))
            excess_NH = score_NH[given.margins_N < 0]
        allowance = allowances(excess_NH, 0.9, constraint=HEAD, first=0)
    except (LabelError, GateError):
        pass
    found_NH = predicted(features, flat.weights_F, flat.offset, test.ahead_NHD)
    judged: dict[str, float | None] = {}
    for name, step in (("now", 0), ("30", 30)):
        plain = found_NH[:, step]
        judged[f"miss_{name}"] = float(np.mean(plain[unsafe] >= 0))
        judged[f"false_alarm_{name}"] = float(np.mean(plain[~unsafe] < 0))
        bound = None if allowance is None else plain - allowance[step]
        judged[f"miss_90_{name}"] = None if bound is None else float(np.mean(bound[unsafe] >= 0))
        judged[f"false_alarm_90_{name}"] = None if bound is None else float(np.mean(bound[~unsafe] < 0))
    return judged


def heads(quick: bool) -> Outcome:
    """Miss and false-alarm rate by number of labels, and coverage on unseen campaigns."""
    known = learned("quadruple-tank", rows=16_000)
    return studied(known, campaigns=24 if quick else 60, draws=2 if quick else 30)


def studied(known: Learned, *, campaigns: int, draws: int) -> Outcome:
    """The outcome from so many campaigns of labels and as many of tests."""
    labels, test = (
        pool(known, campaigns, 4, CALIBRATION_SEED),
        pool(known, campaigns, 6, TEST_SEED),
    )
    background = background_of(known)
    covered = coverage(known, labels, test, background, draws)
    rates = misses(labels, test, background, max(2, draws // 5))
    short = [c["shortfall_of_true_margin"] for each in covered.values() for c in each.values() if isinstance(c, dict)]
    lines = [f"{(test.true_N < 0).mean():.0%} of {len(test.true_N)} test states are unsafe"]
    for count, each in covered.items():
        words = [f"{c}: {v if isinstance(v, str) else format(v['least'], '.3f')}" for c, v in each.items()]
        lines.append(f"{count:>3} labels, least coverage over rows ahead  {'   '.join(words)}")
    for kind, each in rates.items():
        for count, r in each.items():
            told = (
                "refused" if r["miss_90_now"] is None else f"{r['miss_90_now']:.3f} and {r['false_alarm_90_now']:.3f}"
            )
            lines.append(
                f"{kind:<11} {count:>3} labels: miss {r['miss_now']:.3f}, false alarm {r['false_alarm_now']:.3f}; "
                f"with the allowance of 90 %: {told}"
            )
    return Outcome(
        values={"coverage_shortfall": max(short)},
        results={
            "head": HEAD,
            "unsafe_share_of_test": float((test.true_N < 0).mean()),
            "test_states": len(test.true_N),
            "campaigns": {"labels": campaigns, "test": campaigns},
            "coverage": covered,
            "rates": rates,
        },
        seeds=[CALIBRATION_SEED, TEST_SEED],
        lines=lines,
    )


if __name__ == "__main__":
    sys.exit(run_experiment("heads", heads))
