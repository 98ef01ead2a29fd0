"""What one run of the loop remembers from tick to tick: plan, clock, and advice that nobody has seen followed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from procmodel.advice import Advice
from procmodel.control.plan import Plan
from procmodel.runtime.ticks import Tick

# An advice that no measured value has shown after so many further ones was not followed.
_SHOWN_WITHIN = 10


@dataclass
class Memory:
    """What one run of the loop remembers from tick to tick."""

    previous: Plan | None = None
    clock: tuple[datetime, float] | None = None
    set_to: dict[str, tuple[float, float, int]] = field(default_factory=dict)  # MV: value, measured then, advices since

    def clock_step(self, tick: Tick) -> float | None:
        """By how much the clock was set since the last tick [s]."""
        before, self.clock = self.clock, None if tick.steady is None else (tick.now, tick.steady)
        if before is None or tick.steady is None:
            return None
        return (tick.now - before[0]).total_seconds() - (tick.steady - before[1])

    def pending(self) -> dict[str, tuple[float, float]]:
        """What advice set each MV to, and where it was measured then; nothing has shown the one or another since."""
        return {name: (value, then) for name, (value, then, _) in self.set_to.items()}

    def note(self, advice: Advice, plan: Plan | None) -> None:
        """What this tick leaves behind: a plan that became no move is forgotten, an advice not seen yet is not."""
        self.previous = plan if advice.is_move else None
        for move in advice.moves:
            if known := self.set_to.get(move.tag):
                value, then, since = known
                unseen = not math.isfinite(move.current) or move.current == then
                if unseen and move.current != value and since < _SHOWN_WITHIN:
                    self.set_to[move.tag] = (value, then, since + 1)
                else:
                    del self.set_to[move.tag]
            if advice.is_move and move.delta != 0.0:
                then = self.set_to[move.tag][1] if move.tag in self.set_to else move.current
                self.set_to[move.tag] = (move.recommended, then, 0)
