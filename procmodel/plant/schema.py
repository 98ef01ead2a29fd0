"""JSON schema of the plant file, so that editors complete and check it while it is written."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from procmodel.plant import plant as plant_module
from procmodel.plant import tag as tag_module
from procmodel.plant.plant import Plant

# Keys that the file writes elsewhere: a tag's name is the key it stands under.
_NOT_WRITTEN = {"Tag": ["name"]}


def plant_schema() -> dict[str, Any]:
    """The plant file as a person writes it: tags by name, durations with units, gains as "MV -> CV" (draft 2020-12)."""
    schema = Plant.model_json_schema(mode="validation")
    models = _models()
    for name, part in [("Plant", schema), *schema["$defs"].items()]:
        if name in models:
            _describe(part, models[name])
        for key in _NOT_WRITTEN.get(name, []):
            part["properties"].pop(key)
            part["required"].remove(key)
    schema["properties"]["gains"]["propertyNames"] = {"pattern": r"^[^>]+->[^>]+$"}
    schema["properties"]["tags"]["minProperties"] = 2
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "procmodel plant file"}


def _models() -> dict[str, type[BaseModel]]:
    found = {**vars(tag_module), **vars(plant_module)}
    return {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, BaseModel)}


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    """Put the lines of the class's "Attributes:" beside the keys they are about."""
    text = model.__doc__ or ""
    part["description"] = text.split("\n\n")[0].strip()
    for key, about in _attributes(text).items():
        if key in part.get("properties", {}):
            part["properties"][key].setdefault("description", about)


def _attributes(docstring: str) -> dict[str, str]:
    _, _, listed = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?= {8}\S)", "\n" + listed):
        names, colon, about = entry.partition(":")
        if colon:
            found.update({name.strip(): " ".join(about.split()) for name in names.split(",")})
    return found
