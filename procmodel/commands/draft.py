"""A plant file drafted from a record: likely roles, ranges, sampling, each with the reason beside it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from procmodel.data.tag_facts import TagFacts, answers
from procmodel.errors import PlantFileError
from procmodel.plant.units import check_unit
from procmodel.plant.words import many

GRIDS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600)
"""Sample times to choose from [s]."""

_SETPOINT = re.compile(r"(?:^|[._\-/\\: \d])(?:W?SP|SETP|SETPOINT|SOLL|SOLLWERT)(?:[._]?\d*)$", re.IGNORECASE)
_OUTPUT = re.compile(r"(?:^|[._\-/\\: \d])(?:OP|OUT|CO|MV|STELL|STELLGR)(?:[._]?\d*)$", re.IGNORECASE)
_MEASURED = re.compile(r"(?:[._\-/\\: ](?:PV|MEAS|IST|X))$", re.IGNORECASE)
_FROM_OUTSIDE = re.compile(r"feed|inlet|ambient|outside|outdoor|weather|zulauf|au(?:ss|ß)en|umgebung", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a tag probably is to the controller, and why."""

    role: str
    reason: str


def sample_time(facts: Sequence[TagFacts]) -> int:
    """The grid step [s]: what the tags that are not held are sampled with, rounded up to a usual one."""
    intervals = sorted(f.interval for f in facts if f.interval and not f.held) or sorted(
        f.interval for f in facts if f.interval
    )
    usual = intervals[len(intervals) // 2] if intervals else 60.0
    return next((step for step in GRIDS if step >= 0.95 * usual), GRIDS[-1])


def roles(facts: Sequence[TagFacts], step: float) -> dict[str, Guess]:
    """The likely role of each tag: by its name, then by whether it moved after the likely MVs were moved."""
    moved = [f for f in facts if _is_moved(f)]
    by_name = bool(moved)
    if not moved:
        moved = [f for f in facts if f.held and not f.states]
    names = {f.name for f in moved}
    loops = {_loop(f.name) for f in moved}
    found = {}
    for each in facts:
        if each.name in names:
            reason = "named like a setpoint or an output" if by_name else "it holds between moves"
            found[each.name] = Guess(role="MV", reason=reason)
        elif each.low is None or each.low == each.high or each.states:
            why = "never changes" if not each.states or each.low == each.high else "takes a few states"
            found[each.name] = Guess(role="AUX", reason="has no usable value" if each.low is None else why)
        elif _SETPOINT.search(each.name) or _OUTPUT.search(each.name):
            found[each.name] = Guess(role="AUX", reason="belongs to the loop of an MV")
        elif _MEASURED.search(each.name) and _loop(each.name) in loops:
            found[each.name] = Guess(role="AUX", reason="follows the setpoint of its own loop")
        else:
            found[each.name] = _measured(each, moved, step)
    if not any(guess.role == "CV" for guess in found.values()):
        found |= {
            name: Guess(role="CV", reason=f"{guess.reason}; no tag answers the MVs for sure")
            for name, guess in found.items()
            if guess.role == "DV"
        }
    return found


def _is_moved(each: TagFacts) -> bool:
    if each.low is None or each.low == each.high:
        return False
    described = bool(re.search(r"set\s?-?point|sollwert", each.info.description, re.IGNORECASE))
    return bool(_SETPOINT.search(each.name)) or described or (bool(_OUTPUT.search(each.name)) and each.held)


def _loop(name: str) -> str:
    """FIC101 of FIC101.SP and of FI101.PV, without the letters that differ."""
    base = _MEASURED.sub("", _OUTPUT.sub("", _SETPOINT.sub("", name)))
    return re.sub(r"(?<=[A-Z])[ICRAT]+(?=[._\- ]?\d)", "", base, flags=re.IGNORECASE).casefold()


def _measured(each: TagFacts, moved: Sequence[TagFacts], step: float) -> Guess:
    if _FROM_OUTSIDE.search(f"{each.name} {each.info.description}"):
        return Guess(role="DV", reason="its name speaks of what comes from outside")
    strength = {mv.name: answers(mv, each, step) for mv in moved}
    strongest = max(strength, key=lambda name: strength[name], default="")
    if strongest and strength[strongest] > 0:
        return Guess(role="CV", reason=f"changes after {strongest} is moved (correlation {strength[strongest]:.2f})")
    return Guess(role="DV", reason="no change after an MV was moved stands out")


def written(
    *, name: str, history: Mapping[str, Any], facts: Sequence[TagFacts], found: Sequence[str], words: Mapping[str, int]
) -> str:
    """The plant file as text.

    Args:
        history: Its `history`, without what is None.
        found: What the export looks like, a line each.
        words: What stands among its numbers.
    """
    step = sample_time(facts)
    guesses = roles(facts, step)
    lines = ["# Drafted by 'procmodel init' from the export alone. Read every line: what stands behind # says why it",
             "# was written so. Roles and limits are guesses; nobody but you knows them.",
             "#", *(f"# {_one_line(each)}" for each in found)]  # fmt: skip
    if words:
        listed = ", ".join(f"{word!r} {count} times" for word, count in list(words.items())[:8])
        lines.append(f"# Among the numbers: {_one_line(listed)}; each is a bad sample and opens a gap.")
    lines += [
        f"name: {_scalar(name)}",
        f"sample_time: {_duration(step)} # as the measured tags are sampled, rounded up",
        f"history: {_flow(history)}",
        "tags:",
    ]
    for each in facts:
        lines += _tag(each, guesses[each.name])
    lines += [_missing(guesses), "gains: {} # only what you are sure of, such as  FIC1.SP -> TI1.PV: {sign: +}"]
    return "\n".join(line for line in lines if line) + "\n"


def _missing(guesses: Mapping[str, Guess]) -> str:
    held = {guess.role for guess in guesses.values()}
    lacking = [role for role in ("MV", "CV") if role not in held]
    return (
        f"# No tag looks like {' or '.join(lacking)}; give at least one that role.".replace("\n", "") if lacking else ""
    )


def _tag(each: TagFacts, guess: Guess) -> list[str]:
    unit, about = _unit(each.info.unit)
    fields: dict[str, Any] = {"role": guess.role, "unit": unit}
    if each.info.description:
        fields["description"] = each.info.description
    limits = _span(each) if each.low is not None and each.low != each.high else None
    if each.info.low is not None and each.info.high is not None and each.info.low < each.info.high:
        fields["range"] = [each.info.low, each.info.high]
    elif limits is not None and not each.states:
        fields["range"] = limits
    if guess.role == "MV" and each.usual_low is not None and each.usual_high is not None:
        low, high = _outward(each.usual_low, each.usual_high)
        if low < high:
            fields["limits"] = [low, high]
        if each.move:
            fields["max_move"] = float(f"{each.move:.2g}")
    elif each.held:
        fields["step"] = True
    comments = [guess.reason, *about]
    if each.bad:
        comments.append(f"{each.bad:,} of {many(each.samples, 'sample')} bad")
    if each.far:
        comments.append(f"{many(each.far, 'value')} far outside all others")
    if each.low is not None and each.high is not None:
        comments.append(
            f"recorded {each.low:.6g} to {each.high:.6g}" + (f" every {each.interval:.3g} s" if each.interval else "")
        )
    if "limits" in fields:
        comments.append("limits and max_move: as it was operated")
    return [f"  # {_one_line('; '.join(comments))}", f"  {_key(each.name)}: {_flow(fields)}"]


def _unit(said: str) -> tuple[str, list[str]]:
    if not said:
        return "1", ["unit: the export does not say it"]
    try:
        check_unit(said.strip("[]() "))
    except PlantFileError:
        return "1", [f"unit: the export says {said!r}, which is none that is known here"]
    return said.strip("[]() "), []


def _span(each: TagFacts) -> list[float]:
    """The recorded span and half of it on each side: values outside are bad, so it has to be wide."""
    assert each.low is not None
    assert each.high is not None
    half = 0.5 * (each.high - each.low)
    low, high = _outward(each.low - half, each.high + half)
    if each.low >= 0:
        low = max(low, 0.0)
    if each.info.unit.strip("[]() ") == "%" and each.low >= 0 and each.high <= 100:
        low, high = 0.0, 100.0
    return [low, high]


def _outward(low: float, high: float) -> tuple[float, float]:
    """Rounded away from each other to a hundredth of their distance or so."""
    if high <= low:
        return low, high
    digit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    return float(f"{math.floor(low / digit + 1e-9) * digit:.10g}"), float(
        f"{math.ceil(high / digit - 1e-9) * digit:.10g}"
    )


def _duration(seconds: int) -> str:
    return (
        f"{seconds // 60} min"
        if seconds % 60 == 0 and seconds < 3600
        else f"{seconds // 3600} h"
        if seconds % 3600 == 0
        else f"{seconds} s"
    )


def _flow(value: Any) -> str:
    """A value in YAML on one line; JSON is YAML, but for keys and words that need no quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return _scalar(value)


def _key(text: str) -> str:
    return (
        text if _PLAIN_KEY.fullmatch(text) and text.casefold() not in _WORDS else json.dumps(text, ensure_ascii=False)
    )


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _key(value)
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _one_line(text: str) -> str:
    """Fit for a comment: what does not print is left out."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
