"""`check`: is this record fit to learn from? A table, JSON, and one HTML page with pictures."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from procmodel.commands.progress import Progress
from procmodel.data import condition
from procmodel.data.findings.check import Check, Fault, Finding, to_dict
from procmodel.data.findings.check import check as look
from procmodel.data.findings.raw import MOST, collect
from procmodel.data.historians import open_historian
from procmodel.data.reader import worst_good
from procmodel.data.samples import Query
from procmodel.evaluation.figures.health import answers, archive_left, close_ups
from procmodel.evaluation.figures.record import history_overview
from procmodel.evaluation.record_facts import record_facts
from procmodel.evaluation.report import Headline, Picture, Section, Table, Verdict, write_report
from procmodel.evaluation.tables import record_table
from procmodel.plant import Plant
from procmodel.plant.words import many

_CLOSE_UPS = 8


def check(
    plant: Plant, page: Path, progress: Progress, start: datetime | None = None, end: datetime | None = None
) -> dict[str, Any]:
    """Read the history, look at it, write the page. Returns what is printed."""
    historian = open_historian(plant)
    progress.stage("read", "Reading and conditioning the history")
    dataset = condition(plant, historian, start=start, end=end, progress=progress.step)
    report = dataset.manifest["report"]
    progress.stage("samples", "Reading the raw samples")
    query = Query(tags=tuple(plant.columns), start=start, end=end, carry_in=False)
    raw = collect(historian.read(query), plant.columns, worst_good(plant))
    progress.stage("look", "Looking for faults")
    found = look(plant, dataset, raw)
    facts = record_facts(dataset, plant)
    written = write_report(
        page,
        _sections(plant, found, facts),
        title=f"{plant.name}: the record",
        lead=f"{many(facts['rows'], 'row')} of {dataset.step:g} s, {many(len(plant.columns), 'tag')}, as the historian "
        "gave them.",
        meta=f"{facts['first']} to {facts['last']}",
        headlines=_headlines(found),
        footer=(
            "Nothing was repaired: what is wrong is listed, and stays as it is until the source or the plant file is "
            "mended.",
            f"Spikes and unit changes are looked for in the first {MOST:,} good samples of a tag.",
        ),
    )
    return {"plant": plant.name, **to_dict(found), "record": facts, "report": report, "page": str(written)}


def _headlines(found: Check) -> list[Headline]:
    serious = [each for each in found.findings if each.fault is not Fault.GAP]
    tags = list(dict.fromkeys(each.tag for each in serious))
    first = Headline(
        question="Do the instruments tell the truth?",
        answer=many(len(serious), "finding") if serious else "Nothing found",
        detail=f"on {', '.join(tags[:6])}" if tags else "No stuck, spiking, drifting or shifted tag.",
        verdict=Verdict.DOUBT if serious else Verdict.GOOD,
    )
    hidden = [name for name, each in found.archive.items() if each.invented > 0.2]
    second = Headline(
        question="Is the grid honest?",
        answer=f"Not for {many(len(hidden), 'tag')}" if hidden else "Yes",
        detail="Compression left too few samples for rows this short." if hidden else "Most rows hold a sample.",
        verdict=Verdict.DOUBT if hidden else Verdict.GOOD,
    )
    return [first, second, _excitation_headline(found)]


def _excitation_headline(found: Check) -> Headline:
    question = "Were the MVs moved enough to learn from?"
    if found.response is None or found.excitation is None:
        return Headline(question=question, answer="Not told", detail=found.reason, verdict=Verdict.DOUBT)
    shown = sum(answer.f > 5.0 for answer in found.response.values())
    feedback = [mv for mv, each in found.excitation.items() if each.moves_answer_cvs]
    detail = f"The moves of {', '.join(feedback)} answer the CVs." if feedback else "Moves are the operators' own."
    return Headline(
        question=question,
        answer=f"{shown} of {len(found.response)} pairs show",
        detail=detail,
        verdict=Verdict.GOOD if shown == len(found.response) and not feedback else Verdict.DOUBT,
    )


def _sections(plant: Plant, found: Check, facts: dict[str, Any]) -> list[Section]:
    dataset = found.dataset
    # Gaps last: an outage of the historian is one of every tag, and would leave room for nothing else.
    timed = sorted((f for f in found.findings if f.start is not None), key=lambda f: f.fault is Fault.GAP)[:_CLOSE_UPS]
    pictures = (
        (
            Picture(
                svg=close_ups(timed, dataset, plant), caption="Findings close up; between dashed lines, or from one on."
            ),
        )
        if timed
        else ()
    )
    listed = Table(
        head=("fault", "tag", "what was seen", "from", "to"),
        rows=tuple((str(f.fault), f.tag, f.text, _when(f, "start"), _when(f, "end")) for f in found.findings),
    )
    overview = Picture(
        svg=history_overview(dataset, plant),
        caption="The whole record: mean and range, gaps hatched.",
        table=record_table(facts),
    )
    sections = [
        Section(
            title="Findings",
            answer=f"{many(len(found.findings), 'finding')}." if found.findings else "Nothing was found.",
            pictures=pictures,
            tables=(listed,) if found.findings else (),
        ),
        Section(title="Record", pictures=(overview,)),
    ]
    if found.archive:
        sections.append(_archive_section(found))
    if found.response is not None:
        sections.append(_response_section(found))
    return sections


def _when(finding: Finding, which: str) -> str | None:
    moment: datetime | None = getattr(finding, which)
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _archive_section(found: Check) -> Section:
    head = ("tag", "median interval [s]", "invented [%]", "honest grid [s]", "deviation at most [unit]", "memory [-]")
    rows = tuple(
        (name, a.interval, 100 * a.invented, a.honest, a.deviation, a.memory) for name, a in found.archive.items()
    )
    picture = Picture(
        svg=archive_left(found.archive, found.dataset.step),
        caption="Time that lies in rows without a sample; beyond the line a grid of such rows is not honest.",
        table=Table(
            head=head,
            rows=rows,
            caption="Memory: lag-1 autocorrelation of the grid's differences; near 1 where it runs in straight lines.",
        ),
    )
    text = (
        "Between two archived points a straight line is drawn, which knows its end before it came: a model that "
        "predicts such rows well has learned the archive.",
    )
    return Section(title="What compression left", text=text, pictures=(picture,))


def _response_section(found: Check) -> Section:
    assert found.response is not None
    assert found.excitation is not None
    rows = tuple((mv, cv, a.f, 100 * a.gain, a.f > 5.0) for (mv, cv), a in found.response.items())
    picture = Picture(
        svg=answers(found.response),
        caption="Granger's F of the MV's past in the CV's next row, given the past of all tags; above 5 it shows.",
        table=Table(head=("MV", "CV", "F", "of the next move [%]", "shows"), rows=rows),
    )
    own = tuple((mv, 100 * e.own, 100 * e.moved, e.moves_answer_cvs) for mv, e in found.excitation.items())
    table = Table(head=("MV", "moves of its own [%]", "rows with a move [%]", "moves answer the CVs"), rows=own)
    return Section(title="Excitation", pictures=(picture,), tables=(table,))
