"""Text with a column per tag."""

from __future__ import annotations

import codecs
from datetime import datetime, timedelta
from typing import Any

from corpus.case import (
    AUTUMN,
    BAD,
    MORNING,
    NUMBERS,
    PLANT,
    ZURICH,
    Case,
    Expected,
    Truth,
    at,
    expected,
    grid_of,
    lines,
    local,
    minutes,
    number,
    utc,
)


def wide(truth: Truth, stamp: Any = utc, decimal: str = ".", group: str = "") -> list[list[str]]:
    """Names, then a row per moment."""
    rows = [[stamp(time), *(number(value, decimal, group) for value in values)] for time, values in grid_of(truth)]
    return [["time", *truth], *rows]


def case(
    name: str, rows: list[list[str]], truth: Truth, *, delimiter: str = ",", encoding: str = "utf-8", **more: Any
) -> Case:
    text = lines(rows, delimiter)
    return Case(**{"name": name, "files": {"export.csv": text.encode(encoding)}, "expected": expected(truth), **more})


WORDS: Truth = {
    "A": minutes(MORNING, [1.5, "MISSING", "NO DATA", "BAD", "I/O Timeout", "NaN", "inf", 2.5]),
    "B": minutes(MORNING, [246.0, 246.0, 1e-5, 2e300, -0.0, 0.1, 7.0, 8.0]),
}
TIMEOUTS: Truth = {
    "A": minutes(MORNING, [1.0, *["I/O Timeout"] * 60]),
    "B": minutes(MORNING, [float(n) for n in range(61)]),
}
OUTAGE: Truth = {
    "A": [
        *minutes(MORNING, [1.0, 2.0, 3.0]),
        (MORNING + timedelta(minutes=3), "Bad"),
        *minutes(MORNING + timedelta(hours=1), [9.0, 9.5]),
    ],
}
DAYS: Truth = {
    "A": [(at("2024-05-01T06:00:00") + timedelta(days=n), float(n)) for n in range(20)],
    "B": [(at("2024-05-01T06:00:00") + timedelta(days=n), 100.25 + n) for n in range(20)],
}
HOURS: Truth = {"A": minutes(at("2024-10-26T20:00:00"), [float(n) for n in range(9)], every=60)}
NIGHT: Truth = {
    "A": minutes(AUTUMN, [float(n) for n in range(50)], every=5),
    "B": minutes(AUTUMN, [1.0, 2.0, 3.0], every=100),
}
TITLED = [["Report of unit 2", "", ""], ["", "reactor top", "setpoint of the feed"], ["", "degC", "kg/h"]]
TWO = {tag: PLANT[tag] for tag in ("TI101.PV", "FIC101.SP")}


def offset(moment: datetime) -> str:
    return moment.astimezone(ZURICH).isoformat()


def quoted(rows: list[list[str]]) -> list[list[str]]:
    return [[f'"{cell}"' for cell in row] for row in rows]


WIDE: tuple[Case, ...] = (
    case("wide, UTC", wide(PLANT), PLANT),
    case("wide, byte-order mark", wide(PLANT), PLANT, encoding="utf-8-sig"),
    case("wide, UTF-16 and tabs", wide(PLANT), PLANT, delimiter="\t", encoding="utf-16"),
    case("wide, UTF-16 without a mark", wide(PLANT), PLANT, encoding="utf-16-le"),
    Case(
        name="wide, UTF-16 big end first",
        expected=expected(PLANT),
        files={"export.csv": codecs.BOM_UTF16_BE + lines(wide(PLANT)).encode("utf-16-be")},
    ),
    Case(
        name="wide, sep= and blank lines",
        expected=expected(PLANT),
        files={"export.csv": ("sep=;\r\n\r\n" + lines(wide(PLANT), ";", "\r\n\r\n")).encode("cp1252")},
    ),
    case(
        "wide, words among numbers",
        wide(WORDS),
        WORDS,
        report={"words": {"MISSING": 1, "NO DATA": 1, "BAD": 1, "I/O Timeout": 1, "NaN": 1, "inf": 1}},
    ),
    case("wide, a page of timeouts", wide(TIMEOUTS), TIMEOUTS, report={"bad": 60}),
    case("wide, an outage", wide(OUTAGE), OUTAGE, report={"bad": 1}),
    case("wide, delimiter at line ends", [[*row, ""] for row in wide(PLANT)], PLANT),
    case("wide, decimal commas", wide(NUMBERS, decimal=","), NUMBERS, delimiter=";", options={"decimal": ","}),
    case(
        "wide, thousands points",
        wide(NUMBERS, decimal=",", group="."),
        NUMBERS,
        delimiter=";",
        options={"decimal": ","},
    ),
    case("wide, thousands commas in quotes", quoted(wide(NUMBERS, group=",")), NUMBERS, options={"thousands": ","}),
    case("wide, thousands apostrophes", wide(NUMBERS, group="'"), NUMBERS, delimiter=";", options={"thousands": "'"}),
    case(
        "wide, thousands blanks that do not break",
        wide(NUMBERS, decimal=",", group="\u00a0"),
        NUMBERS,
        delimiter=";",
        encoding="cp1252",
        options={"decimal": ",", "thousands": " "},
    ),
    case("wide, typeset minus", [[cell.replace("-3", "\u22123") for cell in row] for row in wide(NUMBERS)], NUMBERS),
    case(
        "wide, three header rows",
        [["", "TI101.PV", "FIC101.SP"], ["", "degC", "kg/h"], ["", "reactor top", "feed setpoint"], *wide(TWO)[1:]],
        TWO,
        options={"header": ["names", "units", "descriptions"]},
    ),
    case(
        "wide, a title, descriptions and units above the names",
        [*TITLED, *wide(TWO)],
        TWO,
        options={"header": ["skip", "descriptions", "units", "names"]},
    ),
    case(
        "wide, no header",
        wide(PLANT)[1:],
        {str(n + 2): samples for n, samples in enumerate(PLANT.values())},
        options={"header": []},
    ),
    case(
        "wide, month first and half days",
        wide(DAYS, lambda t: local(t, "%m/%d/%Y %I:%M:%S %p")),
        DAYS,
        timezone="Europe/Zurich",
    ),
    case("wide, day first", wide(DAYS, lambda t: local(t, "%d/%m/%Y %H:%M")), DAYS, timezone="Europe/Zurich"),
    case(
        "wide, day first with short years",
        wide(DAYS, lambda t: local(t, "%d.%m.%y %H:%M:%S")),
        DAYS,
        timezone="Europe/Zurich",
    ),
    case(
        "wide, day or month first, as told",
        wide({"A": DAYS["A"][:9]}, lambda t: local(t, "%d/%m/%Y %H:%M")),
        {"A": DAYS["A"][:9]},
        timezone="Europe/Zurich",
        options={"time": {"format": "%d/%m/%Y %H:%M"}},
        answers={"history.options.time.format": "%d/%m/%Y %H:%M"},
    ),
    case("wide, months by name", wide(DAYS, lambda t: local(t, "%d-%b-%y %H:%M:%S")), DAYS, timezone="Europe/Zurich"),
    case(
        "wide, fractions of seconds",
        wide(PLANT, lambda t: local(t, "%Y/%m/%d %H:%M:%S.000")),
        PLANT,
        timezone="Europe/Zurich",
    ),
    case("wide, offsets that change", wide(NIGHT, offset), NIGHT),
    case("wide, autumn", wide(NIGHT, local), NIGHT, timezone="Europe/Zurich"),
    case(
        "wide, autumn by the hour", wide(HOURS, local), HOURS, timezone="Europe/Zurich", report={"ambiguous_times": 2}
    ),
    case(
        "wide, autumn newest first",
        [wide(NIGHT, local)[0], *wide(NIGHT, local)[:0:-1]],
        NIGHT,
        timezone="Europe/Zurich",
    ),
    case(
        "wide, stamps that spring skips",
        [["time", "A"], ["2024-03-31 01:59:00", "1"], ["2024-03-31 02:30:00", "2"], ["2024-03-31 03:00:00", "3"]],
        {"A": [(at("2024-03-31T00:59:00"), 1.0), (at("2024-03-31T01:00:00"), 3.0)]},
        timezone="Europe/Zurich",
        report={"missing_times": 1},
    ),
    case(
        "wide, values that conflict",
        [["time", "A"], [utc(MORNING), "1"], [utc(MORNING), "2"]],
        {"A": [(MORNING, 2.0)]},
        report={"duplicates": 1},
    ),
    Case(
        name="wide, files with other columns",
        expected=expected(PLANT),
        files={
            "b.csv": lines(wide({tag: PLANT[tag] for tag in ("PI 7.PV", "FIC101.SP")})).encode(),
            "a.csv": lines(wide({"TI101.PV": PLANT["TI101.PV"]})).encode(),
        },
    ),
    Case(
        name="wide, a value beside Bad",
        files={
            "export.csv": lines(
                [["time", "A"], [utc(MORNING), "1"], [utc(MORNING + timedelta(minutes=1)), "Bad"]]
            ).encode()
        },
        expected={"A": [Expected(MORNING, 1.0), Expected(MORNING + timedelta(minutes=1), None, BAD, "Bad")]},
    ),
)
