"""A backtest's results in plain words, from its plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procmodel.evaluation.report import Headline, Verdict, number, percent, time_words
from procmodel.plant.words import many

CAVEAT = "A log shows what happened, not what would have happened."
_QUESTION = "What would it have been worth?"


def agreement_words(found: Mapping[str, Any]) -> str:
    """How often advice and operator agree, in one sentence."""
    held = f"; it held at {found['holds']}" if found["holds"] else ""
    share = percent(found["agreement"]["share"], 0)
    return f"At {share} of {many(found['ticks'], 'tick')} the operator did what would have been advised{held}."


def backtest_words(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What the record and the judges say of the worth, and how it was found."""
    agreement, matching, unit = found["agreement"], found["matching"], found["cost_unit"]
    words = []
    if agreement["cost_where_agreed"] is not None and agreement["cost_where_not"] is not None:
        words.append(
            f"Recorded cost over the horizon after ticks where they agree: {number(agreement['cost_where_agreed'])} "
            f"{unit}; where they do not: {number(agreement['cost_where_not'])} {unit}."
        )
    length = time_words(found["rows"] * found["step_s"])
    if found["benefit"] is None:
        why = "; ".join(found["left_out"]) or "the plant file names no objective and no setpoint"
        words.append(f"Nobody can say what following would have been worth: {why}.")
    else:
        words.append(
            f"{many(found['episodes'], 'stretch')} of {length}, each followed in closed loop on the record's own "
            f"disturbances by {many(len(found['judges']), 'model')} that had no part in the advice; blocks of "
            f"{many(found['benefit']['block'], 'stretch')} for the interval."
        )
    if matching["of"]:
        words.append(
            f"For {matching['ticks']} of {many(matching['of'], 'tick')} where they differ the record holds a match."
        )
    return tuple(words)


def backtest_headline(found: Mapping[str, Any]) -> Headline:
    """The worth by a record alone: at best a well-founded guess, and told as one."""
    benefit, cost = found["benefit"], found["cost_recorded"]
    detail = f"{agreement_words(found)} {CAVEAT} It takes a simulator or a trial to know."
    if benefit is None or not cost:
        return Headline(question=_QUESTION, answer="Not known from a recording alone.", detail=detail)
    low, high, unit = benefit["low"], benefit["high"], found["cost_unit"]
    shares = sorted((low / abs(cost), high / abs(cost)))
    span = f"{percent(shares[0])} to {percent(shares[1])}"
    if low <= 0.0 <= high:
        answer = f"Not known: models that had no part in it say {span} less cost."
        return Headline(question=_QUESTION, answer=answer, detail=detail)
    if high < 0.0:
        lost = f"{percent(-shares[1])} to {percent(-shares[0])}"
        answer = f"Probably a loss: {lost} more cost than the operators."
        return Headline(question=_QUESTION, answer=answer, detail=detail, verdict=Verdict.NO)
    amount = f"{number(low, 3)} to {number(high, 3)} {unit}, " if unit != "-" else ""
    answer = f"Probably {amount}{span} less cost than the operators."
    return Headline(question=_QUESTION, answer=answer, detail=detail, verdict=Verdict.DOUBT)
