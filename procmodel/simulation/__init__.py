"""Reference plants with published equations, the people who run them, and the historian that records them."""

from procmodel.simulation.operation import OperatedRun, operate
from procmodel.simulation.own import Process, own_plant
from procmodel.simulation.recorder import Archive, Record, record
from procmodel.simulation.reference import (
    REFERENCE_PLANTS,
    Disturbances,
    Operator,
    ReferencePlant,
    reference_plant,
    steady_gains,
    steady_state,
)
from procmodel.simulation.simulator import Reading, Simulator

__all__ = [
    "REFERENCE_PLANTS",
    "Archive",
    "Disturbances",
    "OperatedRun",
    "Operator",
    "Process",
    "Reading",
    "Record",
    "ReferencePlant",
    "Simulator",
    "operate",
    "own_plant",
    "record",
    "reference_plant",
    "steady_gains",
    "steady_state",
]
