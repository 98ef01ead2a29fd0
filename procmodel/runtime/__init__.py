"""The receding loop: the same code in a simulated trial and in the control room."""

from procmodel.runtime.loop import Advisor, Planner, Tally, run
from procmodel.runtime.mode import Ceiling, actual_mode
from procmodel.runtime.proposal import proposal_of
from procmodel.runtime.ticks import Orders, Tick

__all__ = ["Advisor", "Ceiling", "Orders", "Planner", "Tally", "Tick", "actual_mode", "proposal_of", "run"]
