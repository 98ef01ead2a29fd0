"""The three questions that a plant manager asks, answered from the results in plain words.

What was not tried is said to be not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procmodel.evaluation.backtest_words import backtest_headline
from procmodel.evaluation.report import Headline, Verdict, number, percent, time_words

Results = Mapping[str, Any]
FORECASTERS = {"model": "the model", "persistence": "standing still", "arx": "a linear model (ARX)"}
PEOPLE = {"operator": "the operators", "oracle": "an all-knowing controller", "hold": "moving nothing"}


def headlines(results: Results) -> list[Headline]:
    """The three questions that decide, and their answers."""
    return [
        good_enough(results),
        worth(results.get("closed_loop"), results.get("backtest")),
        now(results.get("advice")),
    ]


def good_enough(results: Results) -> Headline:
    question = "Is the model good enough to advise?"
    gains, open_loop = results.get("gains"), results.get("open_loop")
    detail = forecast_words(open_loop) if open_loop else ""
    if gains is None:
        return Headline(question=question, answer="Not known: its step responses were not checked.", detail=detail)
    gate, declared = gains["gate"], gains["gate"]["checked"]
    if not gate["passed"]:
        why = "; ".join(gate["reasons"])
        return Headline(question=question, answer="No.", detail=f"{why}. {detail}".strip(), verdict=Verdict.NO)
    wrong = gains["pairs"] - gains["right"]
    if wrong:
        answer = f"With care: {wrong} of {gains['pairs']} gains disagree{'s' * (wrong == 1)} with the true plant."
        return Headline(question=question, answer=answer, detail=detail, verdict=Verdict.DOUBT)
    if open_loop and not _beats_standing_still(open_loop):
        answer = "With care: its forecasts are no better than standing still."
        return Headline(question=question, answer=answer, detail=detail, verdict=Verdict.DOUBT)
    checks = [f"all {declared} declared gain signs hold"] if declared else []
    checks += [f"{gains['right']} of {gains['pairs']} gains agree with the true plant"] if gains["pairs"] else []
    answer = f"Yes: {' and '.join(checks)}." if checks else "Probably: no gain sign was declared to check it by."
    verdict = Verdict.GOOD if checks else Verdict.DOUBT
    return Headline(question=question, answer=answer, detail=detail, verdict=verdict)


def _at(entry: Mapping[str, Any], name: str, wanted: int = 30) -> tuple[str, float] | None:
    """Error over spread of one forecaster at the judged row nearest to the wanted one; None where it is not known."""
    known = {key: error["over_std"] for key, error in entry.get(name, {}).items() if error["over_std"] is not None}
    key = min(known, key=lambda k: abs(int(k) - wanted), default=None)
    return None if key is None else (key, float(known[key]))


def _mean_error(open_loop: Mapping[str, Any], name: str) -> float | None:
    found = [at[1] for entry in open_loop.values() if (at := _at(entry, name))]
    return sum(found) / len(found) if found else None


def _beats_standing_still(open_loop: Mapping[str, Any]) -> bool:
    model, still = _mean_error(open_loop, "model"), _mean_error(open_loop, "persistence")
    return model is not None and (still is None or model < still)


def forecast_words(open_loop: Mapping[str, Any]) -> str:
    """How far the model is off, beside the others, in one sentence."""
    model = _mean_error(open_loop, "model")
    at = next((found for entry in open_loop.values() if (found := _at(entry, "model"))), None)
    if model is None or at is None:
        return ""
    others = [
        f"{words} {percent(error, 0)}"
        for name, words in FORECASTERS.items()
        if name != "model" and (error := _mean_error(open_loop, name)) is not None
    ]
    beside = f" ({', '.join(others)})" if others else ""
    spread = f"{percent(model, 0)} of a variable's usual spread"
    return f"Running free for {at[0]} rows it is off by {spread} on average{beside}."


def worth(closed_loop: Mapping[str, Any] | None, backtest: Mapping[str, Any] | None = None) -> Headline:
    question = "What would it have been worth?"
    if backtest and not closed_loop:
        return backtest_headline(backtest)
    if not closed_loop or "advice" not in closed_loop:
        return Headline(
            question=question,
            answer="Not known from a recording alone.",
            detail="A log shows what happened, not what would have happened. It takes a simulator or a trial.",
        )
    ours, unit = closed_loop["advice"], closed_loop["trial"]["cost_unit"]
    operator = closed_loop.get("operator")
    base = operator or closed_loop.get("hold")
    if base is None:
        return Headline(question=question, answer=f"Its mean cost was {number(ours['cost'])} {unit}.")
    who = "the operators" if operator else "moving nothing"
    saving, cheaper = _saving(ours["cost"], base["cost"], unit, who), ours["cost"] < base["cost"]
    verdict = Verdict.GOOD if cheaper else Verdict.NO
    if cheaper and (rank := _breaks_more(closed_loop)):
        share = percent(_share(ours, rank), 0)
        saving, verdict = f"{saving[:-1]}, but it broke rank-{rank} limits {share} of the time.", Verdict.DOUBT
    return Headline(question=question, answer=saving, detail=trial_words(closed_loop), verdict=verdict)


def _saving(ours: float, theirs: float, unit: str, who: str) -> str:
    less = theirs - ours
    if unit.endswith("/h"):
        share = f" ({percent(abs(less) / abs(theirs))})" if theirs else ""
        return f"{number(abs(less), 3)} {unit} {'less' if less >= 0 else 'more'} than {who}{share}."
    if ours > 0 and theirs > 0:
        return f"{percent(abs(less) / theirs, 0)} {'less' if less >= 0 else 'more'} tracking cost than {who}."
    return f"Cost {number(ours)} against {number(theirs)} for {who}."


def _breaks_more(closed_loop: Mapping[str, Any]) -> str | None:
    """The first rank whose limits the advice broke in over 1 % more of the time than could be helped."""
    # The oracle shows what could be helped; a cost below its own is cheap to have where limits are broken.
    measure = next((closed_loop[name] for name in ("oracle", "operator") if name in closed_loop), None)
    for rank in closed_loop["advice"].get("violation", {}):
        if measure and _share(closed_loop["advice"], rank) > _share(measure, rank) + 0.01:
            return str(rank)
    return None


def _share(controller: Mapping[str, Any], rank: str) -> float:
    return float(controller.get("violation", {}).get(rank, {}).get("share", 0.0))


def trial_words(closed_loop: Mapping[str, Any]) -> str:
    """The trial in a few sentences."""
    trial, ours = closed_loop["trial"], closed_loop["advice"]
    length = time_words(trial["rows"] * trial["sample_time_s"])
    words = [f"{len(trial['seeds'])} paired runs of {length} on the simulated plant."]
    over = ours.get("cost_over", {}).get("oracle")
    if over:
        words.append(
            f"Advice cost {over['ratio']:.3f} times as much as an all-knowing controller would have "
            f"(95 % interval {over['low']:.3f} to {over['high']:.3f})."
        )
    for rank in ours.get("violation", {}):
        shares = [
            f"{who} {percent(_share(closed_loop[name], rank))}"
            for name, who in (("advice", "advice"), *PEOPLE.items())
            if name in closed_loop and name != "hold"
        ]
        words.append(f"Time beyond limits of rank {rank}: {', '.join(shares)}.")
    return " ".join(words)


def now(advice: Mapping[str, Any] | None) -> Headline:
    question = "What does it recommend now?"
    if not advice:
        return Headline(question=question, answer="Nothing was asked.")
    if advice["action"] != "move":
        return Headline(
            question=question, answer="Hold: leave the setpoints as they are.", detail=advice["reason"],
            verdict=Verdict.DOUBT,
        )  # fmt: skip
    changed = [move for move in advice["moves"] if move["delta"]]
    if not changed:
        return Headline(question=question, answer="Leave it as it is.", detail=advice["reason"], verdict=Verdict.GOOD)
    words = "; ".join(f"{m['tag']} to {m['recommended']:.4g} {m['unit']} ({m['delta']:+.3g})" for m in changed)
    return Headline(question=question, answer=f"Set {words}.", detail=advice["reason"], verdict=Verdict.GOOD)
