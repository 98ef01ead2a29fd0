"""Arguments and options that commands share, and what they say in words: times, pairs, limits and statuses, checked
before a command begins."""

from __future__ import annotations

import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from procmodel.errors import InputError

if TYPE_CHECKING:
    from procmodel.data.exports import Question
    from procmodel.plant import Plant, Status


PlantFile = Annotated[Path, typer.Argument(metavar="PLANT", help="The plant file, such as plant.yaml.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the results. Default: runs/<plant name>; demo: runs/demo-<plant>; runs: all."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Start = Annotated[str | None, typer.Option(help="From this ISO time with its zone. Default: all there is.")]
End = Annotated[str | None, typer.Option(help="Up to this ISO time with its zone. Default: all there is.")]


def moment_of(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text!r} is no ISO time. Write it as 2026-01-05T12:00:00+01:00.") from None
    if moment.tzinfo is None:
        raise InputError(f"{option} {text!r} has no time zone. Write it with one, as 2026-01-05T12:00:00+01:00.")
    return moment


def span_of(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    first, last = moment_of("--start", start), moment_of("--end", end)
    if first is not None and last is not None and first >= last:
        raise InputError(f"--start {start} has to lie before --end {end}.")
    return first, last


def seconds_of(option: str, text: str) -> float:
    """A duration [s], more than none."""
    from procmodel.errors import PlantFileError
    from procmodel.plant.units import parse_duration

    try:
        seconds = parse_duration(text)
    except PlantFileError as error:
        raise InputError(f"{option}: {error}") from error
    if option != "--overlap" and not seconds > 0:
        raise InputError(f"{option} {text!r} has to be longer than 0.")
    return seconds


def folder_of(option: str, folder: Path) -> Path:
    """The absolute path of a folder that is there or may be made.

    Raises:
        InputError: A file stands in its place, or where a folder above it would be.
    """
    folder = folder.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; {option} needs a folder. Name another. Nothing was begun.")
    return folder


def read_from(plant: Plant, recorded: Path) -> Plant:
    """The plant whose history is this folder of a record."""
    from procmodel.plant import History

    if not any(recorded.absolute().glob("part-*.parquet")):
        raise InputError(f"--recorded {recorded}: no record there. Name the folder that 'procmodel record' wrote to.")
    return plant.model_copy(update={"history": History(kind="recorded", path=str(recorded.absolute()))})


def ask(question: Question) -> str:
    """A question of `init`, put on the terminal."""
    if not question.choices:
        return str(typer.prompt(question.text, err=True))
    print(question.text, file=sys.stderr)
    for number, choice in enumerate(question.choices, start=1):
        print(f"  {number}  {choice}", file=sys.stderr)
    answer = str(typer.prompt("Number, or an answer of your own", err=True))
    if answer.isdigit() and 1 <= int(answer) <= len(question.choices):
        chosen = question.choices[int(answer) - 1]
        return chosen if isinstance(chosen, str) else json.dumps(chosen)
    return answer


def pairs_of(option: str, pairs: list[str], example: str) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (sign and key.strip() and value.strip()):
            raise InputError(f"{option} {pair!r} needs KEY=VALUE, such as {example}.")
        found[key.strip()] = value
    return found


def setpoints_of(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--setpoint {pair!r} needs TAG=VALUE, such as LI101.PV=12.5.") from None
        if not math.isfinite(found[name.strip()]):
            raise InputError(f"--setpoint {pair!r} needs a finite value.")
    return found


def limits_of(words: list[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for word in words:
        name, _, value = word.partition("=")
        tag, _, side = name.strip().rpartition(" ")
        try:
            at = float(value)
        except ValueError:
            at = math.nan
        if side not in ("low", "high") or not tag.strip() or not math.isfinite(at):
            raise InputError(
                f"--limit {word!r} needs 'TAG low=VALUE' or 'TAG high=VALUE', such as 'LI103.PV high=2.8'."
            )
        found.setdefault(tag.strip(), {})[side] = at
    return found


def statuses_of(pairs: list[str]) -> dict[str, Status]:
    from procmodel.plant import Status

    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = Status(value.strip())
        except ValueError:
            known = ", ".join(Status)
            raise InputError(f"--status {pair!r} needs TAG=STATUS, with one of {known}.") from None
    return found
