"""The shape of an export, whatever its tables are kept in: what `procmodel init` puts into a plant file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import polars as pl

from connectors.cells import numbers
from connectors.layouts import Layout, unique
from connectors.options import SheetOptions, TableOptions
from connectors.record import TableHistorian
from connectors.sniffed_columns import Column, decimals_of, quality_of
from connectors.sniffed_layouts import Guess, guessed
from connectors.stamp_formats import Written, format_question, written_of
from connectors.tables import Table
from procmodel.data.exports import Question, Shape
from procmodel.errors import HistorianError
from procmodel.plant.checks import checked_options

_EPOCHS = (("s", 1e8, 5e9), ("ms", 1e11, 5e12), ("us", 1e14, 5e15))  # Unix time from 1973 to 2128
_UNIX = "1970-01-01T00:00:00Z"
_PLACEHOLDERS = {"history.options.time.bias.means": "utc - local", "history.options.time.origin": _UNIX,
                 "history.options.time.unit": "s"}  # fmt: skip
ZONE = "history.timezone"


def sniffed(
    kind: str,
    files: Sequence[Path],
    options: type[TableOptions],
    table: Callable[[Path, Any], Table],
    settings: Mapping[str, Any],
    *,
    delimiter: str = "",
    found: Sequence[str] = (),
    days: bool = False,
) -> Shape:
    """The shape that these files share.

    Args:
        options: Of the connector.
        table: Opens a file with such options.
        settings: What is known already, such as the rows above the samples.
        delimiter: Of text files.
        found: What was found already, a line each.
        days: Whether numbers may be days as Excel counts them.

    Raises:
        HistorianError: the files cannot be read, or it cannot be told what their columns hold.
    """
    known = checked_options(options, dict(settings))
    tables = [table(file, known) for file in files]
    columns, frames = _columns(tables, days=days)
    if not any(frame.height for frame in frames):
        raise HistorianError(f"{files[0]}: no rows below the header. Export it again.")
    nameless = isinstance(known, SheetOptions) and "names" not in known.header
    try:
        guess = guessed(tables[0].header(), columns, nameless=nameless)
    except HistorianError as error:
        raise HistorianError(f"{files[0]}: {error} Its columns are {', '.join(columns)}. Name the parts in a "
                             "plant file by hand (history.options).") from error  # fmt: skip
    merged: dict[str, Any] = {**settings, **deepcopy(dict(guess.settings))}
    questions: list[Question] = []
    lines = [*found, f"Layout: {guess.layout}"]
    zone_known = _stamps(guess, columns, frames, merged, questions, lines, str(files[0]))
    decimal, question = decimals_of([columns[name] for name in guess.values], delimiter)
    merged |= decimal
    quality, other = quality_of([columns[name] for name in guess.qualities])
    merged |= quality
    questions += [each for each in (question, other) if each]
    if decimal:
        lines.append("Numbers: " + ", ".join(f"{name} sign {sign!r}" for name, sign in decimal.items()))
    shape = Shape(kind=kind, files=tuple(files), layout=guess.layout, settings=merged, tags=(), zone_known=zone_known,
                  questions=tuple(questions))  # fmt: skip
    final = checked_options(options, shape.options(_placeholders(questions)))
    for each in tables:
        if (Layout.of(each.header(), final, each.place, each.name).tag is not None) != (guess.layout == "long"):
            raise HistorianError(
                f"{each.place} has another layout than {tables[0].place}, which is {guess.layout}. "
                "Name files of one shape at a time."
            )
    tags = tuple(TableHistorian(lambda: [table(file, final) for file in files], {}, final, None).search())
    words = _words([columns[name] for name in guess.values], final)
    return Shape(**{**vars(shape), "tags": tags, "words": words, "found": tuple(lines)})


def _columns(tables: Sequence[Table], *, days: bool) -> tuple[dict[str, Column], list[pl.DataFrame]]:
    frames = []
    for each in tables:
        frames.append(each.load(unique(each.header())).frame)
    names = dict.fromkeys(name for frame in frames for name in frame.columns)
    columns = {name: Column.of(name, [f[name] for f in frames if name in f.columns], days=days) for name in names}
    return columns, frames


def _placeholders(questions: Sequence[Question]) -> dict[str, Any]:
    """Answers that let the names of tags be read before a person has answered."""
    return {each.key: _PLACEHOLDERS[each.key] for each in questions if each.key in _PLACEHOLDERS}


def _stamps(
    guess: Guess,
    columns: Mapping[str, Column],
    frames: Sequence[pl.DataFrame],
    settings: dict[str, Any],
    questions: list[Question],
    lines: list[str],
    place: str,
) -> bool:
    """What the stamps need to be read, put where it belongs; whether they are placed in UTC."""
    time = settings.setdefault("time", {})
    if guess.bias:
        seen = ", ".join(map(str, columns[guess.bias].cells.unique(maintain_order=True).head(4).to_list()))
        questions.append(Question(
            key="history.options.time.bias.means", choices=("utc - local", "local - utc"),
            text=f"Column {guess.bias!r} holds {seen}: from local time to UTC, as Windows counts, or the other way?",
        ))  # fmt: skip
    if guess.counted:
        zone_known = _counted(columns[guess.times[0]], time, questions)
        lines.append(f"Stamps: plain numbers, {time.get('unit', 'of an unknown unit')}")
    else:
        zone_known = _written(guess, columns, frames, time, questions, lines, place)
    if not time:
        del settings["time"]
    zone_known = zone_known or guess.bias is not None
    if not zone_known:
        text = "The stamps carry no time zone. In which were they written, such as Europe/Zurich or UTC?"
        questions.append(Question(key=ZONE, text=text))
    return zone_known


def _counted(column: Column, time: dict[str, Any], questions: list[Question]) -> bool:
    values = column.cells.cast(pl.String).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    middle = float(values.median() or 0.0)  # type: ignore[arg-type]
    unit = next((unit for unit, low, high in _EPOCHS if low <= middle <= high), None)
    if unit is not None:
        time |= {"unit": unit, "origin": _UNIX}
        return True
    seen = ", ".join(map(str, column.cells.head(3).to_list()))
    questions.append(Question(key="history.options.time.unit", choices=("s", "ms", "us", "min", "h", "d"),
                              text=f"Stamps are plain numbers such as {seen}. What do they count?"))  # fmt: skip
    questions.append(Question(key="history.options.time.origin",
                              text="From which moment do they count, as 2024-01-01T00:00:00Z?"))  # fmt: skip
    return True


def _written(
    guess: Guess,
    columns: Mapping[str, Column],
    frames: Sequence[pl.DataFrame],
    time: dict[str, Any],
    questions: list[Question],
    lines: list[str],
    place: str,
) -> bool:
    if guess.date:
        both = pl.concat_str(
            pl.col(guess.date).str.strip_chars(), pl.col(guess.times[0]).str.strip_chars(), separator=" "
        )
        texts = [pl.concat([frame.select(cell=both)["cell"] for frame in frames]).drop_nulls()]
    else:
        typed = [columns[name].cells.dtype for name in guess.times if not columns[name].is_text]
        if typed:
            lines.append(f"Stamps: {typed[0]}")
            return all(isinstance(each, pl.Datetime) and each.time_zone is not None for each in typed)
        texts = [columns[name].cells for name in guess.times]
    cells = pl.concat([text.rename("cell") for text in texts])
    if any(columns[name].days for name in guess.times):
        cells = cells.filter(~cells.str.contains(r"^\d+(\.\d+)?$"))  # days, as Excel counts them
        if not len(cells):
            lines.append("Stamps: days as Excel counts them")
            return False
    written = written_of(cells)
    _format(written, time, questions, place)
    lines.append(f"Stamps: {' or '.join(written.formats)}")
    return written.zoned


def _format(written: Written, time: dict[str, Any], questions: list[Question], place: str) -> None:
    if written.contradicts:
        raise HistorianError(f"{place}: {format_question(written)}")
    key = "history.options.time.format"
    if written.undecided:
        choices = tuple(_one(each) for each in (written.formats, written.month_first))
        questions.append(Question(key=key, choices=choices, text="Does the day or the month come first in its stamps?"))
    elif not written.formats:
        text = f"How are stamps such as {written.unread!r} written, as %d/%m/%Y %H:%M:%S?"
        questions.append(Question(key=key, text=text))
    elif not all(_is_iso(each) for each in written.formats):
        time["format"] = _one(written.formats)


def _one(formats: Sequence[str]) -> str | list[str]:
    return formats[0] if len(formats) == 1 else list(formats)


def _is_iso(written: str) -> bool:
    return written.startswith("%Y-%m-%d") and written[8:9] in ("", " ", "T")


def _words(columns: Sequence[Column], options: TableOptions) -> dict[str, int]:
    """What stands among the numbers of the value columns, most frequent first."""
    seen: Counter[str] = Counter()
    for column in columns:
        try:
            words = numbers(column.cells, options, column.name)["word"].drop_nulls()
        except HistorianError:  # the decimal sign is still asked for
            continue
        seen.update({word: count for word, count in words.value_counts().rows() if word != ""})
    return dict(seen.most_common(50))
