"""The plant's words and the plant file."""

from procmodel.plant.file import load_plant
from procmodel.plant.plant import Plant
from procmodel.plant.recording import Kind, Summary
from procmodel.plant.schema import plant_schema
from procmodel.plant.sections import (
    Advising,
    Calculated,
    Conditioning,
    Constraint,
    Gain,
    History,
    Slow,
    Split,
    Training,
)
from procmodel.plant.tag import Limit, Limits, MaxMove, Role, Status, Tag

__all__ = [
    "Advising",
    "Calculated",
    "Conditioning",
    "Constraint",
    "Gain",
    "History",
    "Kind",
    "Limit",
    "Limits",
    "MaxMove",
    "Plant",
    "Role",
    "Slow",
    "Split",
    "Status",
    "Summary",
    "Tag",
    "Training",
    "load_plant",
    "plant_schema",
]
