"""How many labels does a constraint head need, and does its lower bound hold on rollouts of campaigns it never saw?

The quadruple tank's fourth tank has no level sensor. Labels are dipped in campaigns (runs of an operator in weather of
their own), with the laboratory's error; judged is on other campaigns, 0..60 rows ahead, over the recorded moves. Labels
are left out by whole campaigns, as `head fit` does.

    coverage_shortfall  largest of nominal minus empirical coverage of the true margin (a head's confidence speaks of
                        that one) over rows ahead, at 90 and 95 %, for every number of labels that carries it

Beside it: coverage of the dipped margin, which has the laboratory's error in it; misses and false alarms of every kind
of head; how often heads of classes tell the unsafe states; 40 labels of eight campaigns, left out by campaign or one
by one; and the head that `head fit` makes of the record's own labels.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from experiments.contract import Outcome, run_experiment
from experiments.label_pools import (
    HEAD,
    HORIZON,
    Pool,
    at_random,
    background_of,
    half_unsafe,
    in_few_campaigns,
    pool,
    samples,
)  # fmt: skip
from experiments.learned import Learned, learned
from procmodel.constraints.calibration import allowances, least_labels
from procmodel.constraints.features import Features, candidates
from procmodel.constraints.fit import HeadSamples, excess, learn
from procmodel.errors import LabelError
from procmodel.training.calibrate import learn_head

COUNTS, CONFIDENCES = (2, 5, 10, 20, 40), (0.9, 0.95)
KINDS = ("regression", "logistic", "hinge")
EACH = 5
CALIBRATION_SEED, TEST_SEED = 3000, 6000


def coverage(families: list[Features], labels: Pool, test: Pool, background: HeadSamples, draws: int) -> dict[str, Any]:
    """Coverage of the lower bound by rows ahead, mean over draws of labels, by count and confidence."""
    out: dict[str, Any] = {}
    for count in COUNTS:
        rng = np.random.default_rng([1, count])
        carried = [c for c in CONFIDENCES if count >= least_labels(c)]
        given = [samples(labels, at_random(labels, count, rng), background) for _ in range(draws if carried else 0)]
        found = _covered(families, given, test, carried)
        out[str(count)] = {str(c): found.get(c, f"refused: needs {least_labels(c)} labels") for c in CONFIDENCES}
    return out


def few_campaigns(
    families: list[Features], labels: Pool, test: Pool, background: HeadSamples, draws: int
) -> dict[str, Any]:
    """The same for 40 labels, five of each campaign, left out by campaign and one by one."""
    out: dict[str, Any] = {}
    for way in ("by campaign", "one by one"):
        rng = np.random.default_rng([3, EACH])
        picked = [in_few_campaigns(labels, 40, EACH, rng) for _ in range(draws)]
        given = [samples(labels, at, background, by_campaign=way == "by campaign") for at in picked]
        out[way] = {str(c): found for c, found in _covered(families, given, test, list(CONFIDENCES)).items()}
    return out


def _covered(
    families: list[Features], given: list[HeadSamples], test: Pool, confidences: list[float]
) -> dict[float, dict[str, Any]]:
    true: dict[float, list[np.ndarray]] = {c: [] for c in confidences}
    dipped: dict[float, list[np.ndarray]] = {c: [] for c in confidences}
    kept: dict[float, list[float]] = {c: [] for c in confidences}
    for each in given:
        blend, told_NH = learn(HEAD, "regression", families, each)
        found_NH = blend.told(test.ahead_NHD)
        for c in confidences:
            allowance = allowances(excess("regression", told_NH, each.margins_N), c, constraint=HEAD, first=0)
            true[c].append(np.mean(test.true_N[:, None] >= found_NH - allowance, axis=0))
            dipped[c].append(np.mean(test.dipped_N[:, None] >= found_NH - allowance, axis=0))
            kept[c].append(float(allowance.mean()))
    return {c: _summary(c, np.array(true[c]), np.array(dipped[c]), float(np.mean(kept[c]))) for c in true}


def _summary(confidence: float, true_RH: np.ndarray, dipped_RH: np.ndarray, allowance: float) -> dict[str, Any]:
    by_true, by_dipped = true_RH.mean(axis=0), dipped_RH.mean(axis=0)
    return {
        "true_margin_by_row": by_true.round(4),
        "dipped_margin_by_row": by_dipped.round(4),
        "least": float(by_true.min()),
        "shortfall_of_true_margin": float(confidence - by_true.min()),
        "shortfall_of_dipped_margin": {
            "now": float(confidence - by_dipped[0]),
            "ahead": float(confidence - by_dipped[1:].min()),
        },
        "spread_over_draws": float(true_RH.std(axis=0).max()),
        "mean_allowance": allowance,
        "draws": len(true_RH),
    }


def rates(families: list[Features], labels: Pool, test: Pool, background: HeadSamples, draws: int) -> dict[str, Any]:
    """By kind and count: unsafe states taken for safe and safe ones for unsafe, now and 30 rows ahead; without an
    allowance, and with that of 90 and 95 % where the labels carry it; by row ahead, the share of unsafe ones told."""
    out: dict[str, Any] = {}
    for kind in KINDS:
        for count in COUNTS:
            rng = np.random.default_rng([2, count])
            given = [samples(labels, half_unsafe(labels, count, rng), background) for _ in range(draws)]
            judged = [_judged(kind, families, each, test) for each in given]
            out.setdefault(kind, {})[str(count)] = {
                "unsafe_labels": float(np.mean([(each.margins_N < 0).sum() for each in given])),
                "plain": _mean([each["plain"] for each in judged]),
                **{str(c): _of_confidence([each[c] for each in judged]) for c in CONFIDENCES},
            }
    return out


def _judged(kind: str, families: list[Features], given: HeadSamples, test: Pool) -> dict[Any, Any]:
    """Rates without an allowance, and by confidence those with it, or why it is refused."""
    unsafe = test.true_N < 0
    with np.errstate(invalid="ignore"):  # of two labels, one left out: nothing is left to choose a strength by
        blend, told_NH = learn(HEAD, kind, families, given)
    found_NH = blend.told(test.ahead_NHD)
    judged: dict[Any, Any] = {"plain": _rates(found_NH, unsafe)}
    counted_NH = excess(kind, told_NH, given.margins_N)
    for c in CONFIDENCES:
        try:
            bound_NH = found_NH - allowances(counted_NH, c, constraint=HEAD, first=0)
        except LabelError:
            which = "labels" if kind == "regression" else "unsafe labels"
            judged[c] = f"refused: needs {least_labels(c)} {which}, has {len(counted_NH)}"
            continue
        judged[c] = {**_rates(bound_NH, unsafe), "told_by_row": np.mean(bound_NH[unsafe] < 0, axis=0)}
    return judged


def _rates(found_NH: np.ndarray, unsafe: np.ndarray) -> dict[str, Any]:
    return {
        f"{what}_{name}": float(np.mean(found_NH[unsafe, step] >= 0 if what == "miss" else found_NH[~unsafe, step] < 0))
        for name, step in (("now", 0), ("30", 30))
        for what in ("miss", "false_alarm")
    }


def _mean(judged: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: np.mean([each[key] for each in judged], axis=0) for key in judged[0]}


def _of_confidence(judged: list[Any]) -> Any:
    """The mean of the draws; all have as many labels of each kind, so either all or none are refused."""
    if isinstance(judged[0], str):
        return judged[0]
    mean = _mean(judged)
    return {**mean, "told_by_row": mean["told_by_row"].round(4), "least_told": float(mean["told_by_row"].min())}


def of_the_record(known: Learned, test: Pool) -> dict[str, Any]:
    """The head that `head fit` makes of the record's labels, one campaign left out in blocks of time; judged alike."""
    ahead, out = torch.as_tensor(test.ahead_NHD), dict[str, Any]()
    for c in CONFIDENCES:
        constraint = known.plant.constraints[HEAD].model_copy(update={"confidence": c})
        head = learn_head(HEAD, constraint, known.artifact.model, known.artifact.scaler, known.dataset, HORIZON)
        bound_NH = head.margin(ahead).numpy() - np.array([head.allowance_now, *head.allowance_H])
        covered_H = np.mean(test.true_N[:, None] >= bound_NH, axis=0)
        out[str(c)] = {
            "labels": head.labels,
            "campaigns": head.campaigns,
            "true_margin_by_row": covered_H.round(4),
            "least": float(covered_H.min()),
            **_rates(bound_NH, test.true_N < 0),
        }
    return out


def heads(quick: bool) -> Outcome:
    """Miss and false-alarm rate by number of labels, and coverage on unseen campaigns."""
    known = learned("quadruple-tank", rows=16_000)
    labels = pool(known, 100 if quick else 400, 8, CALIBRATION_SEED)
    test = pool(known, 30 if quick else 150, 6, TEST_SEED)
    return studied(known, labels, test, draws=2 if quick else 30)


def studied(known: Learned, labels: Pool, test: Pool, *, draws: int) -> Outcome:
    """The outcome of so many draws of labels."""
    background = background_of(known)
    families = list(candidates(background.background_MD, background.guides_MG))
    covered = coverage(families, labels, test, background, draws)
    found = rates(families, labels, test, background, max(2, draws // 3))
    clustered = few_campaigns(families, labels, test, background, max(2, draws // 2))
    own = of_the_record(known, test)
    short = [c["shortfall_of_true_margin"] for each in covered.values() for c in each.values() if isinstance(c, dict)]
    unsafe = test.true_N < 0
    results = {
        "head": HEAD,
        "rows_ahead": [0, HORIZON],
        "test_states": len(unsafe),
        "unsafe_share_of_test": float(unsafe.mean()),
        "campaigns": {"labels": len(np.unique(labels.campaign_N)), "test": len(np.unique(test.campaign_N))},
        "campaigns_with_unsafe_states": {
            "labels": len(np.unique(labels.campaign_N[labels.dipped_N < 0])),
            "test": len(np.unique(test.campaign_N[unsafe])),
        },
        "coverage": covered,
        "rates": found,
        "forty_labels_of_eight_campaigns": clustered,
        "labels_of_the_record": own,
    }
    return Outcome(
        values={"coverage_shortfall": max(short)},
        results=results,
        seeds=[CALIBRATION_SEED, TEST_SEED],
        lines=list(_lines(results)),
        figures={"coverage": _picture(covered)},
    )


def _lines(results: dict[str, Any]) -> list[str]:
    with_unsafe = results["campaigns_with_unsafe_states"]
    lines = [
        f"{results['unsafe_share_of_test']:.0%} of {results['test_states']} test states are unsafe, of "
        f"{with_unsafe['test']} campaigns; unsafe labels come from {with_unsafe['labels']}"
    ]
    for count, each in results["coverage"].items():
        words = [f"{c}: {v if isinstance(v, str) else format(v['least'], '.3f')}" for c, v in each.items()]
        lines.append(f"{count:>3} labels, least coverage over rows ahead  {'   '.join(words)}")
    for way, each in results["forty_labels_of_eight_campaigns"].items():
        words = [f"{c}: {v['least']:.3f}" for c, v in each.items()]
        lines.append(f"40 labels of eight campaigns, left out {way}  {'   '.join(words)}")
    words = [f"{c}: {v['least']:.3f}" for c, v in results["labels_of_the_record"].items()]
    lines.append(f"labels of the record, as head fit takes them  {'   '.join(words)}")
    lines.append("now: miss and false alarm without an allowance; with it at 90 and 95 % (least share of unsafe told)")
    for kind, by_count in results["rates"].items():
        for count, each in by_count.items():
            words = [_words(each["plain"]), *(_words(each[str(c)]) for c in CONFIDENCES)]
            lines.append(f"{kind:<11} {count:>3} labels: {'; '.join(words)}")
    return lines


def _words(rate: Any) -> str:
    if isinstance(rate, str):
        return rate
    least = f" ({rate['least_told']:.3f})" if "least_told" in rate else ""
    return f"{rate['miss_now']:.3f} and {rate['false_alarm_now']:.3f}{least}"


def _picture(covered: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, c in zip(figure.subplots(1, 2, sharey=True), CONFIDENCES, strict=True):
        for count, each in covered.items():
            if not isinstance(each[str(c)], str):
                axes.plot(each[str(c)]["true_margin_by_row"], label=f"{count} labels")
        axes.axhline(c, color="black", linestyle="--")
        axes.set(title=f"confidence {c:.0%}", xlabel="rows ahead", ylabel="true margin above the lower bound [-]")
        axes.legend()
    return figure


if __name__ == "__main__":
    sys.exit(run_experiment("heads", heads))
