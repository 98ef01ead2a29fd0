"""Advice and its guard; shares no code with the optimizer."""

from procmodel.advice.advice import Action, Advice, GivenUp, Margin, Mode, Move, Outlook, Rest, Target
from procmodel.advice.guard import guard
from procmodel.advice.proposal import Proposal
from procmodel.advice.sinks import ConsoleSink, JsonLinesSink, Sink, Tee

__all__ = [
    "Action",
    "Advice",
    "ConsoleSink",
    "GivenUp",
    "JsonLinesSink",
    "Margin",
    "Mode",
    "Move",
    "Outlook",
    "Proposal",
    "Rest",
    "Sink",
    "Target",
    "Tee",
    "guard",
]
