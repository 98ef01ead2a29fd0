"""The report: one HTML file that needs nothing else, for people who were not there.

Answers come first, pictures after them, and behind each picture its numbers as a table. No script, no address of
anything outside: it opens on a plant network, and prints.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from importlib import resources
from pathlib import Path

Cell = str | float | int | bool | None


class Verdict(StrEnum):
    """How an answer turned out; shown by word and shape, not by colour alone."""

    GOOD = "good"
    DOUBT = "doubt"
    NO = "no"
    PLAIN = "plain"


_MARKS = {Verdict.GOOD: "✓", Verdict.DOUBT: "!", Verdict.NO: "✗", Verdict.PLAIN: ""}


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A question that a plant manager asks, and its answer."""

    question: str
    answer: str
    detail: str = ""
    verdict: Verdict = Verdict.PLAIN


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers behind a picture. A cell of None is shown as a dash."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as SVG text, with what to see in it, and its numbers."""

    svg: str
    caption: str
    table: Table | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question of the report, its answer in a sentence, and what it rests on."""

    title: str
    answer: str = ""
    text: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


def write_report(
    path: Path | str,
    sections: Sequence[Section],
    *,
    title: str,
    lead: str = "",
    meta: str = "",
    headlines: Sequence[Headline] = (),
    footer: Sequence[str] = (),
) -> Path:
    """Write the report; a reader sees the old file or the new one, never half of one.

    Args:
        title, lead, meta: Its heading, one sentence below, and where and when.
        footer: What a reader should know before quoting a figure.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = render(sections, title=title, lead=lead, meta=meta, headlines=headlines, footer=footer)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def render(
    sections: Sequence[Section],
    *,
    title: str,
    lead: str = "",
    meta: str = "",
    headlines: Sequence[Headline] = (),
    footer: Sequence[str] = (),
) -> str:
    """The report as HTML text."""
    css = resources.files("procmodel.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#s{i}">{escape(s.title)}</a>' for i, s in enumerate(sections))
    body = [
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>'
        f'<p class="meta">{escape(meta)}</p></header>',
        f'<div class="headlines">{"".join(_headline(h) for h in headlines)}</div>' if headlines else "",
        f"<nav>{links}</nav>" if len(sections) > 1 else "",
        *(_section(i, section) for i, section in enumerate(sections)),
        f"<footer>{''.join(f'<p>{escape(line)}</p>' for line in footer)}</footer>" if footer else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _headline(headline: Headline) -> str:
    mark = _MARKS[headline.verdict]
    shown = f'<span class="mark" aria-label="{headline.verdict}">{mark}</span>' if mark else ""
    return (
        f'<section class="headline {headline.verdict}"><h2>{escape(headline.question)}</h2>'
        f'<p class="answer">{shown}{escape(headline.answer)}</p>'
        f'<p class="detail">{escape(headline.detail)}</p></section>'
    )


def _section(number: int, section: Section) -> str:
    parts = [f'<section id="s{number}"><h2>{escape(section.title)}</h2>']
    if section.answer:
        parts.append(f'<p class="answer">{escape(section.answer)}</p>')
    parts += [f"<p>{escape(line)}</p>" for line in section.text]
    parts += [_picture(picture) for picture in section.pictures]
    parts += [_table(table) for table in section.tables]
    return "\n".join([*parts, "</section>"])


def _picture(picture: Picture) -> str:
    figure = (
        f"<figure>{inline(picture.svg, picture.caption)}<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )
    if picture.table is None:
        return figure
    return f"{figure}\n<details><summary>The numbers as a table</summary>{_table(picture.table)}</details>"


def inline(svg: str, description: str) -> str:
    """SVG as part of an HTML page: no prolog, no metadata, no namespaces, which HTML knows by itself."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(description)}">{rest.strip()}'


def _table(table: Table) -> str:
    texts = [[cell for row in table.rows if isinstance(cell := row[i], str)] for i in range(len(table.head))]
    longest = [max(map(len, column), default=0) for column in texts]
    kind = ["" if not n else ' class="text"' if n < 30 else ' class="text long"' for n in longest]
    head = "".join(f"<th{k}>{escape(cell)}</th>" for k, cell in zip(kind, table.head, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{k}>{_cell(cell)}</td>" for k, cell in zip(kind, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "✓ yes" if value else "✗ no"
    if isinstance(value, float):
        return number(value)
    return escape(str(value))


def number(value: float, digits: int = 4) -> str:
    """The digits that matter, with thousands apart; no exponent where a reader can do without."""
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    if 1 <= abs(value) < 1e6:
        return f"{value:,.{max(0, digits - len(str(int(abs(value)))))}f}"
    return f"{value:.{digits}g}"


def percent(share: float, digits: int = 1) -> str:
    """A share as per cent."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def time_words(seconds: float) -> str:
    """A length of time in the largest unit that it fills."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{number(seconds / size, 3)} {unit}"
    return f"{number(seconds, 3)} s"
