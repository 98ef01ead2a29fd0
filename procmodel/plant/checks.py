"""What pydantic found wrong, said in sentences: what it got, what it needs, and under which key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from procmodel.errors import PlantFileError
from procmodel.plant.tag import MisfitError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_NEEDS: dict[str, str] = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_long": "at most {max_length} entries",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_pattern_mismatch": "letters, digits, '.', '_' or '-', beginning with a letter or digit",
}


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One thing that is wrong.

    Attributes:
        at: The key it is about, as far down as what the user wrote goes; its line is where to mend it.
        within: The key whose value was checked; said before `text`.
        got: What stood there.
        text: A whole sentence, or None where `need` says it all.
        need: What is needed instead of `got`.
    """

    at: Path
    within: Path
    got: Any
    text: str | None = None
    need: str | None = None


def complaints(error: ValidationError, written: Any) -> list[Complaint]:
    """What is wrong, seen from the keys of `written`; branches of "this or that" are told as one."""
    found: dict[Path, list[Complaint]] = {}
    for detail in error.errors():
        one = _complaint(detail, written)
        found.setdefault(one.at, []).append(one)
    return [_merged(same) for same in found.values()]


def _complaint(detail: Mapping[str, Any], written: Any) -> Complaint:
    place = _as_written(detail["loc"], written)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, MisfitError):
        return Complaint(at=place + cause.at, within=place, got=detail["input"], text=str(cause))
    if detail["type"] == "missing":
        missing = detail["loc"][-1]
        text = (
            f"needs {missing!r}."
            if isinstance(missing, str)
            else f"got {_short(detail['input'])}, needs one more entry."
        )
        return Complaint(at=place, within=place, got=None, text=text)
    need = _NEEDS.get(detail["type"])
    return Complaint(
        at=place,
        within=place,
        got=detail["input"],
        text=None if need else f"got {_short(detail['input'])}: {detail['msg']}.",
        need=need.format(**detail.get("ctx", {})) if need else None,
    )


def _as_written(location: tuple[str | int, ...], written: Any) -> Path:
    """The longest start of a pydantic location that exists in what the user wrote."""
    path: Path = ()
    for step in location:
        if isinstance(written, dict):
            # pydantic names a gain by its checked key, a pair.
            found = [key for key in written if key == step or _pair_text(key) == step]
            if not found:
                break
            written, path = written[found[0]], (*path, found[0])
        elif isinstance(written, list) and isinstance(step, int) and step < len(written):
            written, path = written[step], (*path, step)
        else:
            break
    return path


def _pair_text(key: Any) -> str:
    return str(tuple(part.strip() for part in key.split("->"))) if isinstance(key, str) else ""


def _merged(same: list[Complaint]) -> Complaint:
    """One complaint of several about one value: what it got, then all that would do."""
    first = same[0]
    if whole := [one.text for one in same if one.text]:
        return Complaint(at=first.at, within=first.within, got=first.got, text=" Or: ".join(dict.fromkeys(whole)))
    needs = " or ".join(dict.fromkeys(one.need or "" for one in same))
    return Complaint(at=first.at, within=first.within, got=first.got, text=f"got {_short(first.got)}, needs {needs}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def checked(
    model: type[Model],
    written: Any,
    *,
    say: Callable[[Complaint], str],
    context: dict[str, Any] | None = None,
) -> Model:
    """`written` as a `model`.

    Args:
        say: Turns a complaint into one line that tells the place.

    Raises:
        PlantFileError: with one line per thing that is wrong.
    """
    try:
        return model.model_validate(written, context=context)
    except ValidationError as error:
        lines = [say(one) for one in complaints(error, written)]
        more = [f"... and {len(lines) - 8} more."] if len(lines) > 8 else []
        raise PlantFileError("\n".join(lines[:8] + more)) from error


def checked_options(model: type[Model], written: Any, *, place: str = "history.options") -> Model:
    """A connector's settings from the plant file, as its own `model`.

    Raises:
        PlantFileError: a setting is unknown or does not fit.
    """
    return checked(model, written, say=lambda one: f"{'.'.join([place, *map(str, one.within)])}: {one.text}")
