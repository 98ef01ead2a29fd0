"""The numbers behind the report's pictures, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from procmodel.evaluation.report import Cell, Table
from procmodel.plant.words import many

Part = Mapping[str, Any]


def record_table(facts: Part) -> Table:
    """Per tag: how much was good, gaps, range and usual sampling."""
    head = (
        "tag",
        "role",
        "unit",
        "good [%]",
        "gaps",
        "longest [s]",
        "stuck runs",
        "least",
        "most",
        "sampled every [s]",
    )
    keys = ("role", "unit", "good_percent", "gaps", "longest_gap_s", "stuck", "least", "most", "interval_s")
    return Table(head=head, rows=tuple((name, *(tag[k] for k in keys)) for name, tag in facts["tags"].items()))


def excitation_table(excitation: Part) -> Table:
    """Per MV: how much of its moves was its own."""
    head = ("MV", "moves of its own [%]", "rows with a move [%]", "moves answer the CVs")
    keys = ("own_percent", "moved_percent")
    rows = [
        (mv, *(e[k] for k in keys), "yes" if e["moves_answer_cvs"] else "no")
        for mv, e in excitation.items()
    ]  # fmt: skip
    caption = "Moves that only answer the plant teach a model the operators' habits, not the plant's gains."
    for test in filter(None, (e.get("plant_test") for e in excitation.values())):
        caption += f" Proposed plant test, where the record shows no answer: {test}."
    return Table(head=head, rows=tuple(rows), caption=caption)


def open_loop_table(open_loop: Part) -> Table:
    """Per CV and forecaster: error after so many rows, and divided by the CV's spread."""
    first = next(iter(open_loop.values()))
    forecasters = [name for name, value in first.items() if isinstance(value, Mapping)]
    steps = list(first[forecasters[0]])
    head = ("CV", "unit", "spread", "forecast", *(f"after {k}" for k in steps), *(f"after {k} / spread" for k in steps))
    rows: list[tuple[Cell, ...]] = []
    for cv, entry in open_loop.items():
        for name in forecasters:
            errors = [entry[name][k]["error"] for k in steps]
            shares = [entry[name][k]["over_std"] for k in steps]
            rows.append((cv, entry["unit"], entry["std"], name, *errors, *shares))
    caption = f"Root mean square error over {first['starts']} starts, after so many free-running rows."
    return Table(head=head, rows=tuple(rows), caption=caption)


def gains_table(gains: Part) -> Table:
    """Per pair: the model's gain beside the truth and what was declared."""
    head = ("MV", "CV", "gain unit", "model", "truth", "right", "declared", "passed", "dead time [s]", "settles in [s]")
    rows = [
        (
            row["mv"],
            row["cv"],
            row["unit"],
            row["model"]["value"],
            row["truth"]["value"] if row["truth"] else None,
            row["right"],
            row["declared"],
            row["passed"],
            row["dead_time_s"],
            row["settling_time_s"],
        )
        for row in gains["table"]
    ]
    return Table(head=head, rows=tuple(rows))


def free_run_table(runs: Part) -> Table:
    """Per campaign: error and how many samples it is over."""
    head = ("campaign", "CV", "unit", "RMSE", "samples judged", "samples given")
    rows = [(name, r["cv"], r["unit"], r["rmse"], r["samples"], r["given"]) for name, r in runs.items()]
    return Table(head=head, rows=tuple(rows))


def closed_loop_table(closed_loop: Part) -> Table:
    """Per controller: cost, broken limits, travel, holds, time of a decision."""
    controllers = _controllers(closed_loop)
    ranks = sorted({rank for c in controllers.values() for rank in c["violation"]})
    mvs = list(next(iter(controllers.values()))["travel_percent_per_row"])
    head = (
        "controller",
        f"cost [{closed_loop['trial']['cost_unit']}]",
        "spread over seeds",
        *(f"rank {rank} exceeded [% of time]" for rank in ranks),
        *(f"{mv} moves [% of span per row]" for mv in mvs),
        "holds",
        "decision p50 [ms]",
        "p95 [ms]",
        "p99 [ms]",
    )
    rows = [
        (
            name,
            c["cost"],
            c["cost_std"],
            *(100 * c["violation"][rank]["share"] for rank in ranks),
            *(c["travel_percent_per_row"][mv] for mv in mvs),
            c["holds"],
            *(1000 * c["solve_seconds"][p] for p in ("p50", "p95", "p99")),
        )
        for name, c in controllers.items()
    ]
    return Table(head=head, rows=tuple(rows), caption=f"Seeds {', '.join(map(str, closed_loop['trial']['seeds']))}.")


def limits_table(closed_loop: Part) -> Table:
    """Per limit and controller: how often and how far it was exceeded."""
    controllers = _controllers(closed_loop)
    head = ("limit", "rank", "unit", "controller", "exceeded [% of time]", "mean excess", "largest excess")
    names = list(next(iter(controllers.values()))["limits"])
    rows = [
        (
            limit,
            entry["rank"],
            entry["unit"],
            name,
            100 * entry["share"],
            entry["mean_excess"],
            entry["largest_excess"],
        )
        for limit in names
        for name, c in controllers.items()
        if (entry := c["limits"][limit])
    ]
    tolerance = closed_loop["trial"]["violation_tolerance_percent"]
    return Table(head=head, rows=tuple(rows), caption=f"Excess below {tolerance:g} % of a tag's span does not count.")


def backtest_table(found: Part) -> Table:
    """Per judge: how well it forecasts, and what it says following was worth."""
    head = (
        "judge",
        "its free-run error / spread",
        f"benefit [{found['cost_unit']}]",
        "low",
        "high",
        "rank-1 beyond [%]",
    )
    beyond, rows = found["beyond_limits"], list[tuple[Cell, ...]]()
    lines = [
        *((judge["name"], judge["error_over_spread"], judge["benefit"]) for judge in found["judges"]),
        ("matching in the record", None, found["matching"]["benefit"]),
        ("all judges", None, found["benefit"]),
    ]
    for name, error, benefit in lines:
        figures = [None if benefit is None else benefit[key] for key in ("mean", "low", "high")]
        share = beyond.get(name, {}).get("1")
        rows.append((name, error, *figures, None if share is None else 100 * share))
    recorded = beyond["recorded"].get("1")
    rank_1 = "" if recorded is None else f" As recorded, {100 * recorded:.1f} % of the rows lie beyond a rank-1 limit."
    return Table(
        head=head, rows=tuple(rows), caption=f"Recorded cost less that of following; above zero is a gain.{rank_1}"
    )


def gates_table(champion: Part) -> Table:
    """Per gate: whether it was passed, and why."""
    words = {True: "✓ passed", False: "✗ not passed", None: "not known"}
    rows = [(gate["name"], words[gate["passed"]], gate["reason"]) for gate in champion["gates"]]
    return Table(head=("gate", "passed", "why"), rows=tuple(rows))


def comparison_table(comparison: Part) -> Table:
    """Per figure: this evaluation, the other, and which is better."""
    head = ("figure", "unit", "this", "other", "better")
    rows = [tuple(row[key] for key in ("figure", "unit", "this", "other", "better")) for row in comparison["table"]]
    differs = ", ".join(comparison["differs"]) or "nothing"
    return Table(head=head, rows=tuple(rows), caption=f"What differs between the two: {differs}.")


def agreement_table(found: Part) -> Table:
    """Per MV: how often advice and operator agree."""
    head = ("MV", "unit", "agree within", "agree [% of ticks]")
    rows = [
        (mv, each["unit"], each["tolerance"], 100 * each["share"]) for mv, each in found["agreement"]["by_mv"].items()
    ]
    return Table(
        head=head, rows=tuple(rows), caption=f"Over {many(found['ticks'], 'tick')}, {found['holds']} of them held."
    )


def _controllers(closed_loop: Part) -> dict[str, Any]:
    return {name: c for name, c in closed_loop.items() if "cost" in c}


def advice_table(advice: Part) -> Table:
    """What is recommended per MV, and what is expected per CV and calculated value."""
    head = ("tag", "role", "unit", "now", "recommended / at the end", "change", "without a move", "low", "high", "note")
    moves: list[tuple[Cell, ...]] = [
        (m["tag"], "MV", m["unit"], m["current"], m["recommended"], m["delta"], None, m["low"], m["high"], m["clamp"])
        for m in advice["moves"]
    ]
    outlooks: list[tuple[Cell, ...]] = [
        (
            o["tag"],
            role,
            o["unit"],
            o["measured"],
            o["end"],
            None if o["end"] is None or o["measured"] is None else o["end"] - o["measured"],
            o["unmoved_end"],
            o["low"],
            o["high"],
            o["status"],
        )
        for role, key in (("CV", "outlooks"), ("calculated", "calculated"))
        for o in advice.get(key, ())
    ]
    return Table(head=head, rows=(*moves, *outlooks))


def claims_table(claims: Sequence[Part]) -> Table:
    """Goals and whether they were met."""
    head = ("goal", "found", "bound", "met")
    rows = [(c["claim"].replace("_", " "), c["value"], f"{c['sense']} {c['bound']:g}", bool(c["met"])) for c in claims]
    return Table(head=head, rows=tuple(rows), caption="Goals that the project has set itself.")


def seconds_table(seconds: Part) -> Table:
    """Time by stage."""
    rows: list[tuple[Cell, ...]] = [(stage.replace("_", " "), float(value)) for stage, value in seconds.items()]
    return Table(head=("stage", "seconds"), rows=tuple(rows), caption="Time on this machine.")
