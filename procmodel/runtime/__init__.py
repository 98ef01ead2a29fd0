"""The receding loop: the same code in a simulated trial and in the control room."""

from procmodel.runtime.loop import Advisor, Planner, Tally, Tick, proposal_of, run

__all__ = ["Advisor", "Planner", "Tally", "Tick", "proposal_of", "run"]
