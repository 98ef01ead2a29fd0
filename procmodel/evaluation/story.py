"""The report's parts: results and figures put in order, each with what to see in it.

A part is there where the results or the figures hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procmodel.evaluation.backtest_words import CAVEAT, agreement_words, backtest_words
from procmodel.evaluation.headlines import forecast_words, now, trial_words, worth
from procmodel.evaluation.report import Picture, Section, Table, number, percent, time_words
from procmodel.evaluation.tables import (
    advice_table,
    agreement_table,
    backtest_table,
    claims_table,
    closed_loop_table,
    comparison_table,
    excitation_table,
    free_run_table,
    gains_table,
    gates_table,
    limits_table,
    open_loop_table,
    record_table,
    seconds_table,
)

Results = Mapping[str, Any]

CAPTIONS = {
    "history": "The whole record on the grid. Line: mean; shade: range; hatched gap: nothing good was recorded, and "
    "nothing was invented in its place; hatched beyond a line: outside a limit.",
    "conditioning": "A close look: samples as the historian kept them, and the time-weighted average of the good part "
    "of each grid cell, which is what the model learns from.",
    "open_loop": "Forecasts on days that the model was not trained on, each from one look at the past and then only "
    "from the recorded moves. The band holds nine of ten past errors.",
    "error_growth": "How the error grows with the time ahead. A useful model stays below standing still, and below the "
    "dotted line, which is how much the variable moves anyway.",
    "steps": "What the model says each controlled variable does when one setpoint is moved by one unit and all else is "
    "held. Band: from one operating point to another. Ticks and crosses: the sign that the engineer declared, and the "
    "true plant where it is known.",
    "free_run": "Whole campaigns kept back from training: the model sees the first samples, then only the inputs.",
    "backtest": f"{CAVEAT} What the advice would have been at each tick of rows that the model has not learned from, "
    "beside what the operator did (marks are filled where the two agree); then what following it would have cost, by "
    "models that had no part in it and saw the same disturbances. Evidence; only a trial on the plant is a proof.",
    "cost": "Cost and broken limits of each controller. Mark: one run; thin lines join the runs in the same weather; "
    "thick bar: mean.",
    "closed_loop": "One of the runs. All controllers meet the same disturbances and the same sensor noise. The "
    "all-knowing controller (oracle) uses the true equations and state, which nobody has on a real plant. A black bar "
    "along the axis of a setpoint marks where the advice held.",
    "advice": "The past, this moment, and what is expected with the advice and without it. Advice only: the operator "
    "moves the plant.",
}


def sections(results: Results, figures: Mapping[str, str]) -> list[Section]:
    """The report's parts, each present where the results or figures hold it.

    Args:
        results: Any of `record`, `excitation`, `open_loop`, `gains`, `free_run`, `backtest`, `closed_loop`, `advice`,
            `claims`, `seconds`, as the values of this package print them.
        figures: SVG text under the names of `CAPTIONS`.
    """
    parts = [
        _record(results, figures),
        _forecasts(results, figures),
        _steps(results, figures),
        _free_runs(results, figures),
        _backtest(results, figures),
        _trials(results, figures),
        _advice(results, figures),
        _champion(results),
        _comparison(results),
        _accounts(results),
    ]
    return [part for part in parts if part.pictures or part.tables]


def _pictures(figures: Mapping[str, str], **tables: Table | None) -> tuple[Picture, ...]:
    """The named figures that there are, each with its table."""
    return tuple(
        Picture(svg=figures[name], caption=CAPTIONS[name], table=table)
        for name, table in tables.items()
        if name in figures
    )


def _record(results: Results, figures: Mapping[str, str]) -> Section:
    facts = results.get("record")
    answer = ""
    if facts:
        name, worst = min(facts["tags"].items(), key=lambda item: float(item[1]["good_percent"]))
        answer = (
            f"{time_words(facts['rows'] * facts['step_s'])} on a grid of {time_words(facts['step_s'])}; the least "
            f"covered tag, {name}, was good {percent(worst['good_percent'] / 100)} of the time."
        )
    pictures = _pictures(figures, history=record_table(facts) if facts else None, conditioning=None)
    audit = results.get("excitation")
    tables = (excitation_table(audit),) if audit else ()
    return Section(title="The record", answer=answer, pictures=pictures, tables=tables)


def _forecasts(results: Results, figures: Mapping[str, str]) -> Section:
    open_loop = results.get("open_loop")
    table = open_loop_table(open_loop) if open_loop else None
    return Section(
        title="How well it forecasts",
        answer=forecast_words(open_loop) if open_loop else "",
        text=(
            "Recorded moves answer disturbances, so a good forecast of a record does not prove that the model knows "
            "what a move of its own would do. The next part checks that.",
        ),
        pictures=_pictures(figures, open_loop=None, error_growth=table),
        tables=(table,) if table and "error_growth" not in figures else (),
    )


def _steps(results: Results, figures: Mapping[str, str]) -> Section:
    gains = results.get("gains")
    answer, table = "", None
    if gains:
        gate, table = gains["gate"], gains_table(gains)
        answer = f"Declared signs: {'all hold' if gate['passed'] else 'not passed'} ({gate['checked']} checked)."
        if gains["pairs"]:
            answer += f" Against the true plant: {gains['right']} of {gains['pairs']} right."
    return Section(
        title="What a move does",
        answer=answer,
        text=tuple(gains["gate"]["reasons"]) if gains else (),
        pictures=_pictures(figures, steps=table),
        tables=(table,) if table and "steps" not in figures else (),
    )


def _free_runs(results: Results, figures: Mapping[str, str]) -> Section:
    runs = results.get("free_run")
    if not runs:
        return Section(title="Free run over whole campaigns", pictures=_pictures(figures, free_run=None))
    errors = ", ".join(f"{number(run['rmse'])} {run['unit']} on {name}" for name, run in runs.items())
    table = free_run_table(runs)
    return Section(
        title="Free run over whole campaigns",
        answer=f"Error (RMSE): {errors}.",
        pictures=_pictures(figures, free_run=table),
        tables=(table,) if "free_run" not in figures else (),
    )


def _backtest(results: Results, figures: Mapping[str, str]) -> Section:
    found = results.get("backtest")
    if not found:
        return Section(title="What would have been advised", pictures=_pictures(figures, backtest=None))
    judges, agreement = backtest_table(found), agreement_table(found)
    return Section(
        title="What would have been advised",
        answer=agreement_words(found),
        text=backtest_words(found),
        pictures=_pictures(figures, backtest=judges),
        tables=(agreement,) if "backtest" in figures else (judges, agreement),
    )


def _trials(results: Results, figures: Mapping[str, str]) -> Section:
    closed_loop = results.get("closed_loop")
    if not closed_loop:
        return Section(title="What following it would have brought")
    costs, limits = closed_loop_table(closed_loop), limits_table(closed_loop)
    return Section(
        title="What following it would have brought",
        answer=worth(closed_loop).answer,
        text=(trial_words(closed_loop),) if "advice" in closed_loop else (),
        pictures=_pictures(figures, cost=costs, closed_loop=limits),
        tables=(costs, limits) if "cost" not in figures else (),
    )


def _advice(results: Results, figures: Mapping[str, str]) -> Section:
    advice = results.get("advice")
    if not advice:
        return Section(title="The advice now")
    table = advice_table(advice)
    return Section(
        title="The advice now",
        answer=now(advice).answer,
        text=(advice["reason"], *advice.get("notes", ())),
        pictures=_pictures(figures, advice=table),
        tables=(table,) if "advice" not in figures else (),
    )


def _champion(results: Results) -> Section:
    champion = results.get("champion")
    if not champion:
        return Section(title="May it be the champion?")
    answer = str(champion["reason"])
    return Section(
        title="May it be the champion?", answer=f"{answer[0].upper()}{answer[1:]}.", tables=(gates_table(champion),)
    )


def _comparison(results: Results) -> Section:
    comparison = results.get("comparison")
    if not comparison:
        return Section(title="Beside another evaluation")
    return Section(title=f"Beside evaluation {comparison['with'][:8]}", tables=(comparison_table(comparison),))


def _accounts(results: Results) -> Section:
    claims, seconds = results.get("claims"), results.get("seconds")
    tables = ((claims_table(claims),) if claims else ()) + ((seconds_table(seconds),) if seconds else ())
    met = f"{sum(bool(c['met']) for c in claims)} of {len(claims)} set goals met." if claims else ""
    return Section(title="Goals and time", answer=met, tables=tables)
