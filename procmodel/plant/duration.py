"""Durations as people write them, with their unit, and as the code counts them, in seconds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from procmodel.errors import PlantFileError
from procmodel.plant.tag import MisfitError
from procmodel.plant.units import parse_duration

FROM_FILE = {"from_file": True}
"""Validation context of what a person wrote: a duration has to carry its unit there."""


def _seconds(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except PlantFileError as error:
            raise MisfitError((), str(error)) from error
    if info.context == FROM_FILE and value:
        raise MisfitError((), f"got {value!r}, needs a duration with its unit, such as 5 s, 2 min or 1 h.")
    return value


DURATION_PATTERN = r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*[A-Za-z]+\s*$"
DurationText = Annotated[str, Field(pattern=DURATION_PATTERN, examples=["5 s", "2 min", "1 h"])]
Duration = Annotated[
    float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_seconds, json_schema_input_type=DurationText)
]
"""Seconds; written with its unit ("5 s", "2 min", "1 h")."""
