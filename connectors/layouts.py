"""Which column of a table holds what: a row per sample, a column per tag, and what lies between the two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.options import TableOptions
from procmodel.errors import HistorianError

# Compared without case; "_", "." and "-" count as blanks.
_USUAL_NAMES = {
    "tag": "tag, tagname, tag name, tag id, tagid, name, point, point name, signal, variable, varname, item, "
    "messstelle",
    "time": "time, timestamp, time stamp, datetime, date time, ts, date/time, date and time, timestring, zeit, "
    "zeitstempel, zeitpunkt",
    "value": "value, val, varvalue, wert, messwert",
    "quality": "quality, status, opcquality, opc quality, dataquality, data quality, validity, qualität, q",
    "unit": "unit, units, eu, uom, engineeringunits, engineering units, einheit",
}
USUAL = {role: tuple(names.split(", ")) for role, names in _USUAL_NAMES.items()}
_TIME_END = re.compile(r"^(?P<tag>.*?)[\s._-]*(?:time[\s_]?stamp|date[\s/]?time|time|zeit(?:stempel)?)$", re.IGNORECASE)
_VALUE_END = re.compile(r"^(?P<tag>.*?)[\s._-]+(?:value|val|wert)$", re.IGNORECASE)
_QUALITY_END = re.compile(
    r"^(?P<tag>.*?)[\s._-]*(?:data\s?quality|opc\s?quality|quality|status|validity|qualität|güte)$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The columns of one tag, in a table that has columns of its own for each.

    Attributes:
        alone: Whether the time column stands for this tag only, so that a row without a value tells of a gap.
    """

    tag: str
    time: str
    value: str
    quality: str | None = None
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which column of a table holds what.

    Attributes:
        time: Column of the stamps; of the first tag, where each has its own.
        tag, value, quality, unit: Columns of a long table; None in any other (quality and unit also where there is
            none).
        signals: The tags of any other table; empty in a long one.
    """

    time: str
    tag: str | None = None
    value: str | None = None
    quality: str | None = None
    unit: str | None = None
    signals: tuple[Signal, ...] = ()

    @property
    def wide(self) -> tuple[str, ...]:
        """Tags that have columns of their own."""
        return tuple(signal.tag for signal in self.signals)

    @classmethod
    def of(cls, header: Sequence[str], options: TableOptions, place: str, name: str = "") -> Layout:
        """The layout of a table with this header.

        Args:
            name: Of the tag that a table of layout "single" holds: what its file is called.

        Raises:
            HistorianError: a column that the options name is missing, a name stands twice, or there is but one column.
        """
        bias = options.time.bias.column if options.time.bias else None
        for key, column in (("date", options.time.date), ("bias.column", bias)):
            if column is not None and column not in header:
                named = f"history.options.time.{key} is {column!r}"
                raise HistorianError(f"{place}: {named}, but the columns are {', '.join(header)}. Correct it.")
        layout = options.layout or ("pairs" if _are_pairs(header) else None)
        if layout == "pairs":
            return cls._of_signals(_pairs(unique(header), header, place), place)
        if layout == "interleaved":
            return cls._of_signals(_interleaved(unique(header), header, options, place), place)
        twice = sorted({each for each in header if each and header.count(each) > 1})
        if twice:
            raise HistorianError(f"{place}: column {twice[0]!r} stands twice in the header. Rename or remove one.")
        found = {role: column_of(header, role, options, place) for role in USUAL}
        tag, time, value = found["tag"], found["time"], found["value"]
        is_long = tag is not None and value is not None and time is not None
        if layout == "long" and not is_long:
            raise HistorianError(
                f"{place}: a long table needs columns for tag, time and value, got {', '.join(header)}. "
                "Name them in history.options.columns."
            )
        if is_long and layout in (None, "long"):
            return cls(time=time or "", tag=tag, value=value, quality=found["quality"], unit=found["unit"])
        time = time or unique(header)[0]
        if layout == "single":
            value = value or next((each for each in header if each not in (time, found["quality"], "")), None)
            if value is None:
                raise HistorianError(
                    f"{place}: a file of one tag needs a value column, got {', '.join(header)}. "
                    "Name it in history.options.columns.value."
                )
            one = Signal(tag=Path(name).name, time=time, value=value, quality=found["quality"], alone=True)
            return cls(time=time, signals=(one,), unit=found["unit"])
        beside = {time, options.time.date, bias, ""}
        tags = [each for each in header if each not in beside]
        return cls._of_signals([Signal(tag=each, time=time, value=each) for each in tags], place)

    @classmethod
    def _of_signals(cls, signals: Sequence[Signal], place: str) -> Layout:
        if not signals:
            raise HistorianError(
                f"{place}: found only one column, that of the time stamps. Set history.options.delimiter, or export "
                "the tags too."
            )
        tags = [signal.tag for signal in signals]
        twice = sorted({tag for tag in tags if tags.count(tag) > 1})
        if twice:
            raise HistorianError(f"{place}: tag {twice[0]!r} stands twice in the header. Rename or remove one.")
        return cls(time=signals[0].time, signals=tuple(signals))


def column_of(header: Sequence[str], role: str, options: TableOptions, place: str) -> str | None:
    """The column of this role: the one that the options name, else one with a usual name, else None."""
    named = options.time_column if role == "time" else getattr(options.columns, role)
    if named is not None:
        if named not in header:
            key = f"history.options.columns.{role}"
            raise HistorianError(f"{place}: {key} is {named!r}, but the columns are {', '.join(header)}. Correct it.")
        return str(named)
    names = {folded(name): name for name in reversed(header)}
    return next((names[usual] for usual in USUAL[role] if usual in names), None)


def unique(header: Sequence[str]) -> list[str]:
    """The names, those that repeat told apart by the number of their column."""
    return [
        name if name and name not in header[:number] else f"{name} (column {number + 1})"
        for number, name in enumerate(header)
    ]


def quality_of_tag(name: str) -> str | None:
    """The tag that a quality column is of ("" where its name does not say), or None where it is no quality column."""
    found = _QUALITY_END.match(name)
    return found["tag"] if found else None


def folded(name: str) -> str:
    return re.sub(r"[_.-]+", " ", name).strip().casefold()


def _are_pairs(header: Sequence[str]) -> bool:
    """Whether each tag has a time column: Tag1 TimeStamp, Tag1 Value, Tag2 TimeStamp, Tag2 Value."""
    names = [name for name in header if name]
    step = 3 if len(names) > 2 and (quality_of_tag(names[2]) or "") else 2
    if len(names) < 4 and not (len(names) == step and (_TIME_END.match(names[0]) or {"tag": ""})["tag"]):
        return False
    groups = [names[start : start + step] for start in range(0, len(names), step)]
    return all(
        len(group) == step
        and (time := _TIME_END.match(group[0])) is not None
        and (value := _VALUE_END.match(group[1])) is not None
        and time["tag"] == value["tag"] != ""
        for group in groups
    )


def _pairs(keys: Sequence[str], header: Sequence[str], place: str) -> list[Signal]:
    """Signals of consecutive columns: time, value and, where it is called so, quality."""
    found: list[Signal] = []
    number = 0
    while number < len(header):
        after = header[number + 1] if number + 1 < len(header) else None
        if after is None:
            if header[number] == "":  # a delimiter at the end of each line
                break
            raise HistorianError(
                f"{place}: column {header[number]!r} has no value column beside it, which layout pairs needs."
            )
        has_quality = number + 2 < len(header) and quality_of_tag(header[number + 2]) is not None
        found.append(
            Signal(
                tag=_tag_of_pair(header[number], after) or f"column {number + 2}",
                time=keys[number],
                value=keys[number + 1],
                quality=keys[number + 2] if has_quality else None,
                alone=True,
            )
        )
        number += 3 if has_quality else 2
    return found


def _tag_of_pair(time: str, value: str) -> str:
    """What two columns are called by: the tag stands in the name of either, or of both."""
    if not value:
        return time
    stripped, stamped = _VALUE_END.match(value), _TIME_END.match(time)
    if stripped and stamped and stripped["tag"] == stamped["tag"]:
        return stripped["tag"]
    if folded(value) in USUAL["value"]:
        return stamped["tag"] if stamped and stamped["tag"] else time
    return value


def _interleaved(keys: Sequence[str], header: Sequence[str], options: TableOptions, place: str) -> list[Signal]:
    """Signals of value and quality columns in turn, behind the time column."""
    time = column_of(header, "time", options, place)
    first = header.index(time) if time is not None else 0
    beside = {options.time.date, options.time.bias.column if options.time.bias else None}
    rest = [n for n in range(len(header)) if n != first and header[n] not in beside]
    while rest and header[rest[-1]] == "" and len(rest) % 2:
        rest.pop()
    if len(rest) % 2:
        raise HistorianError(
            f"{place}: layout interleaved needs a quality column behind each value column, got {len(rest)} columns "
            "beside the time. Correct history.options.layout."
        )
    found = []
    for value, quality in zip(rest[::2], rest[1::2], strict=True):
        stripped, of = _VALUE_END.match(header[value]), quality_of_tag(header[quality])
        tag = stripped["tag"] if stripped and of == stripped["tag"] else header[value]
        found.append(Signal(tag=tag, time=keys[first], value=keys[value], quality=keys[quality]))
    return found
