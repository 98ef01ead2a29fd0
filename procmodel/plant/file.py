"""The plant file: YAML read with its line numbers, checked, its paths made absolute."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from procmodel.errors import PlantFileError
from procmodel.plant.checks import Complaint, checked
from procmodel.plant.duration import FROM_FILE
from procmodel.plant.expression import check
from procmodel.plant.plant import Plant
from procmodel.plant.tag import Role

# A plant file is short. Aliases of aliases could otherwise grow a few lines into gigabytes.
MOST_NODES = 100_000
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
_TEXT_STAMP = "tag:yaml.org,2002:timestamp"
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def load_plant(path: str | Path) -> Plant:
    """The plant of a plant file; `history.path` and labels come back absolute.

    Raises:
        PlantFileError: the file is missing or no plain YAML, or something in it does not fit; the message names the
            line, the tag, what it got and what it needs.
    """
    file = Path(path)
    document = _Document.read(file)
    plant = checked(Plant, document.data, say=document.sentence, context=FROM_FILE)
    _check_expressions(plant, document)
    return _with_absolute_paths(plant, document)


@dataclass(frozen=True, kw_only=True)
class _Document:
    """What a file says, and the line (from 1) on which each key or list entry stands."""

    file: Path
    data: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]

    @classmethod
    def read(cls, file: Path) -> _Document:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        text = _text_of(file)
        # Composed to nodes and no further: nothing in the file is ever constructed but plain values.
        yaml = YAML(typ="safe", pure=True)
        try:
            root = yaml.compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f" line {mark.line + 1}" if mark else ""
            raise PlantFileError(
                f"{file}{line}: no readable YAML: {error.problem or error.context}. Mend the line; text with one of "
                "[ ] { } , # : or a leading - * & ! % @ needs quotes."
            ) from error
        except YAMLError as error:
            raise PlantFileError(f"{file}: no readable YAML: {error}.") from error
        if root is None:
            raise PlantFileError(f"{file} is empty. A plant file needs at least name, sample_time and tags.")
        reader = _NodeReader(file=file, scalars=yaml.constructor)
        data = reader.value(root, ())
        if not isinstance(data, dict):
            raise PlantFileError(
                f"{file} line 1: got a {type(data).__name__}, needs a mapping: name, sample_time, tags."
            )
        return cls(file=file, data=data, lines=reader.lines)

    def place(self, path: tuple[str | int, ...]) -> str:
        """ "FILE line N, tag NAME" of the nearest key that the file holds."""
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines), ())
        line = f" line {self.lines[known]}" if known else ""
        tag = f", tag {path[1]}" if len(path) > 1 and path[0] == "tags" else ""
        return f"{self.file}{line}{tag}"

    def sentence(self, one: Complaint) -> str:
        within = one.within[2:] if one.within[:1] == ("tags",) and len(one.within) > 1 else one.within
        key = f"{'.'.join(map(str, within))}: " if within else ""
        return f"{self.place(one.at)}: {key}{one.text}"


def _text_of(file: Path) -> str:
    if file.is_dir():
        raise PlantFileError(f"{file} is a folder. Name the plant file in it, such as {file / 'plant.yaml'}.")
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        beside = sorted(each.name for each in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        hint = f" Beside it: {', '.join(beside[:5])}." if beside else " README.md shows one to start from."
        raise PlantFileError(f"Plant file {file} does not exist.{hint}") from error
    except UnicodeDecodeError as error:
        raise PlantFileError(f"{file} is no UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise PlantFileError(f"Plant file {file} cannot be read: {error.strerror}.") from error


class _NodeReader:
    """Turns YAML nodes into plain values and notes where each key stands."""

    def __init__(self, *, file: Path, scalars: Any) -> None:
        self.file = file
        self.scalars = scalars
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.left = MOST_NODES

    def value(self, node: Any, path: tuple[str | int, ...]) -> Any:
        self.left -= 1
        if self.left < 0:
            raise PlantFileError(f"{self.file} holds more than {MOST_NODES} values. A plant file is a short text.")
        kind, line = str(node.ctag), node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if kind == _TEXT_STAMP:
            return node.value
        if kind not in _PLAIN:
            raise PlantFileError(
                f"{self.file} line {line}: got {kind!r}, needs plain YAML. Remove the tag or merge key."
            )
        if kind.endswith(":map"):
            return self._mapping(node, path)
        if kind.endswith(":seq"):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalars.construct_object(node)

    def _mapping(self, node: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if str(key_node.ctag) not in _PLAIN or isinstance(key_node.value, list):
                raise PlantFileError(f"{self.file} line {line}: needs plain YAML: a key is a text (no << merge key).")
            key = str(key_node.value)
            if key in data:
                first = self.lines[(*path, key)]
                raise PlantFileError(
                    f"{self.file} line {line}: {key!r} stands on line {first} already. Keep one of them."
                )
            self.lines[(*path, key)] = line
            data[key] = self.value(value_node, (*path, key))
        return data


def _check_expressions(plant: Plant, document: _Document) -> None:
    """Each can be read, and names what is predicted or known."""
    written: dict[tuple[str | int, ...], str] = {
        ("advice", "constraints", name, "expression"): each.expression
        for name, each in plant.advice.constraints.items()
    }
    if plant.advice.objective is not None:
        written["advice", "objective"] = plant.advice.objective
    for path, text in written.items():
        check(text, plant.of(Role.MV, Role.CV, Role.DV), f"{document.place(path)}: {'.'.join(map(str, path))}")


def _with_absolute_paths(plant: Plant, document: _Document) -> Plant:
    changed: dict[str, Any] = {}
    if plant.history and plant.history.path is not None:
        given, at = plant.history.path, ("history", "path")
        if isinstance(given, str):
            path: str | list[str] = _absolute(given, document, at)
        else:
            path = [_absolute(each, document, (*at, index)) for index, each in enumerate(given)]
        changed["history"] = plant.history.model_copy(update={"path": path})
    if plant.constraints:
        changed["constraints"] = {
            name: each.model_copy(update={"labels": _absolute(each.labels, document, ("constraints", name, "labels"))})
            for name, each in plant.constraints.items()
        }
    announced = {
        name: tag.model_copy(update={"announced": _absolute(tag.announced, document, ("tags", name, "announced"))})
        for name, tag in plant.tags.items()
        if tag.announced is not None
    }
    if announced:
        changed["tags"] = {**plant.tags, **announced}
    return plant.model_copy(update=changed)


def _absolute(path: str, document: _Document, at: tuple[str | int, ...]) -> str:
    """`path` with its variables filled in, from the plant file's folder; a server address stays as it is."""

    def fill(found: re.Match[str]) -> str:
        value = os.environ.get(found["name"]) or found["default"]
        if value is None:
            name = found["name"]
            raise PlantFileError(
                f"{document.place(at)}: {'.'.join(map(str, at))}: environment variable {name} is not set. "
                f"Set it, or write a default: ${{{name}:-...}}."
            )
        # A relative path typed into a shell is meant from there, not from the plant file.
        from_shell = os.environ.get(found["name"]) and found.start() == 0
        return str(Path.cwd() / value) if from_shell and "://" not in value else value

    filled = _VARIABLE.sub(fill, path)
    if "://" in filled:
        return filled
    return os.path.normpath(document.file.parent.absolute() / Path(filled).expanduser())
