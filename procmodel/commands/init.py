"""`init`: from an export to the draft of a plant file, asking only what no export can tell."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from procmodel.commands.draft import roles, sample_time, written
from procmodel.data.exports import Question, Shape, sniff
from procmodel.data.historians import load_connector
from procmodel.data.samples import Historian, TagInfo
from procmodel.data.tag_facts import TagFacts, tag_facts
from procmodel.errors import HistorianError, InputError, PlantFileError
from procmodel.plant import History, Role, Tag, load_plant
from procmodel.plant.tag import nearest

ZONE = "history.timezone"
Ask = Callable[[Question], str]


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """What `init` did.

    Attributes:
        missing: What the draft still needs before it can be used, in a sentence; None: it can be used as it is.
    """

    plant_file: Path
    shape: Shape
    facts: Sequence[TagFacts]
    unusable: Mapping[str, str]
    missing: str | None

    def to_dict(self) -> dict[str, Any]:
        """As printed by `--json`."""
        guesses = roles(self.facts, sample_time(self.facts))
        return {
            "plant_file": str(self.plant_file),
            "kind": self.shape.kind,
            "layout": self.shape.layout,
            "files": [str(file) for file in self.shape.files],
            "found": list(self.shape.found),
            "words": dict(self.shape.words),
            "sample_time_s": sample_time(self.facts),
            "tags": [
                {
                    "name": f.name, "role": guesses[f.name].role, "reason": guesses[f.name].reason, "unit": f.info.unit,
                    "samples": f.samples, "bad": f.bad, "low": f.low, "high": f.high, "interval_s": f.interval,
                    "step": f.held,
                }
                for f in self.facts
            ],
            "unusable": dict(self.unusable),
            "missing": self.missing,
        }  # fmt: skip


def init(
    exports: Sequence[Path],
    plant_file: Path,
    answers: Mapping[str, Any],
    *,
    name: str | None = None,
    ask: Ask | None = None,
) -> Drafted:
    """Draft a plant file; nothing is written unless all of it went well.

    Args:
        exports: Files, or folders of them.
        answers: By key of the plant file, such as history.timezone.
        name: Of the plant; None: after the export.
        ask: Puts a question to a person; None: open questions are an error.

    Raises:
        InputError: the plant file is there already, a question is open, or the export cannot be read.
    """
    if plant_file.exists():
        raise InputError(f"{plant_file} is there already and stays as it is. Name another with --out, or remove it.")
    if not plant_file.absolute().parent.is_dir():
        raise InputError(f"--out {plant_file}: there is no folder {plant_file.absolute().parent}. Make it first.")
    known = {key.removeprefix("history.options."): answers[key] for key in answers if key.count(".") == 2}
    shape = sniff(list(exports), {key: value for key, value in known.items() if key != "quality"})
    answered = _answered(shape, answers, ask)
    history = {
        "kind": shape.kind,
        "path": _relative(shape.files, exports, plant_file),
        **({"timezone": answered[ZONE]} if ZONE in answered else {}),
        **({"options": shape.options(answered)} if shape.options(answered) else {}),
    }
    facts, unusable = _facts(shape, {**history, "path": [str(file.absolute()) for file in shape.files]})
    found = [*shape.found, *(f"{tag} cannot be used and was left out: {why}" for tag, why in unusable.items())]
    text = written(name=name or _name(exports), history=history, facts=facts, found=found, words=shape.words)
    with plant_file.open("x", encoding="utf-8") as file:
        file.write(text)
    return Drafted(plant_file=plant_file, shape=shape, facts=facts, unusable=unusable, missing=_missing(plant_file))


def _missing(plant_file: Path) -> str | None:
    try:
        load_plant(plant_file)
    except PlantFileError as error:
        return str(error)
    return None


def _answered(shape: Shape, answers: Mapping[str, Any], ask: Ask | None) -> dict[str, Any]:
    """The answers to all questions, checked."""
    known = {question.key for question in shape.questions}
    for key in answers:
        if not key.startswith("history."):
            raise InputError(f"--answer {key}: no such question; {nearest(key, known)}")
    left = shape.open_questions(answers)
    if left and ask is None:
        listed = "\n".join(f"  {each.text}\n    {_how(each)}" for each in left)
        raise InputError(f"{shape.files[0]} does not tell everything:\n{listed}")
    given = {**answers, **{each.key: parsed(ask(each)) for each in left if ask is not None}}
    if (zone := given.get(ZONE)) is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
            raise InputError(
                f"{ZONE}: unknown time zone {zone!r}; {nearest(str(zone), available_timezones())}"
            ) from error
    if ZONE in given and shape.zone_known:
        del given[ZONE]
    for each in shape.questions:
        if each.choices and each.key != "history.options.quality" and given[each.key] not in each.choices:
            choices = " or ".join(json.dumps(_listed(choice)) for choice in each.choices)
            raise InputError(f"{each.key}: got {given[each.key]!r}, needs {choices}.")
    return given


def _listed(choice: Any) -> Any:
    return list(choice) if isinstance(choice, tuple) else choice


def _how(question: Question) -> str:
    """How a question is answered on the command line."""
    if question.key == ZONE:
        return "--timezone Europe/Zurich"
    choices = question.choices or ("...",)
    return "  or  ".join(
        f"--answer '{question.key}={each if isinstance(each, str) else json.dumps(each)}'" for each in choices
    )


def parsed(answer: str) -> Any:
    """An answer as it is meant: a list or mapping where it is written as JSON, else text."""
    text = answer.strip()
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f'The answer {answer!r} is no JSON: {error}. Write it as {{"0": "good"}}.') from error


def _facts(shape: Shape, history: Mapping[str, Any]) -> tuple[list[TagFacts], dict[str, str]]:
    """Facts of every tag that has a usable sample, and why the others have none."""
    infos: dict[str, TagInfo] = {info.name: info for info in shape.tags}
    # As tags without unit and range, so that the record is parsed once for all of them.
    plain = {name: Tag(name=name, role=Role.AUX, unit="1") for name in infos}
    historian: Historian = load_connector(shape.kind)(History(**history), plain)
    try:
        return tag_facts(historian, infos), {}
    except HistorianError:
        facts: list[TagFacts] = []
        unusable: dict[str, str] = {}
        for name in infos:
            try:
                facts += tag_facts(historian, infos, only=(name,))
            except HistorianError as error:
                unusable[name] = str(error)
        if not facts:
            raise
        return facts, unusable


def _relative(files: Sequence[Path], exports: Sequence[Path], plant_file: Path) -> str | list[str]:
    """The export's path as the plant file names it: a pattern for a folder of one kind, so that new files are seen."""
    folder = plant_file.absolute().parent
    endings = {file.suffix for file in files}
    if len(exports) == 1 and exports[0].is_dir() and len(endings) == 1:
        return str(Path(os.path.relpath(exports[0], folder)) / f"*{endings.pop()}")
    found = [os.path.relpath(file, folder) for file in files]
    return found[0] if len(found) == 1 else found


def _name(exports: Sequence[Path]) -> str:
    first = exports[0].absolute()
    base = first.name if first.is_dir() else first.stem
    base = first.parent.name if base.casefold() in ("export", "exports", "data", "history") else base
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", base).strip("-._") or "plant"


def summary(drafted: Drafted) -> list[str]:
    """What was done, for people, a line each."""
    guesses = roles(drafted.facts, sample_time(drafted.facts))
    lines = [*drafted.shape.found, ""]
    for each in drafted.facts:
        guess = guesses[each.name]
        lines.append(f"  {guess.role:<4}{each.name:<24} {each.info.unit:<8} {guess.reason}")
    lines += [f"  left out: {tag}: {why}" for tag, why in drafted.unusable.items()]
    lines += [
        "",
        f"Draft: {drafted.plant_file}. Read it, correct roles and limits, then: procmodel ingest {drafted.plant_file}",
    ]
    return lines + ([f"It needs an edit first. {drafted.missing}"] if drafted.missing else [])
