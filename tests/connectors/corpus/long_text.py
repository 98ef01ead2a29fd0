"""Text with a row per sample."""

from __future__ import annotations

from datetime import timedelta

from corpus.case import (
    AUTUMN,
    BAD,
    GOOD,
    MORNING,
    NUMBERS,
    PLANT,
    SPRING,
    UNCERTAIN,
    ZURICH,
    Case,
    Expected,
    Truth,
    expected,
    lines,
    local,
    minutes,
    number,
    rows_of,
    utc,
)

STAMPED = [[tag, utc(time), number(value)] for time, tag, value in rows_of(PLANT)]
HEAD = ["tag", "time", "value"]

CLOCKS: Truth = {
    "A": minutes(AUTUMN, [float(n) for n in range(24)], every=10),
    "B": minutes(AUTUMN + timedelta(minutes=3), [float(-n) for n in range(20)], every=12),
}
"""From 01:00 to 04:00 local in the night when 02:00 to 03:00 happens twice."""


def local_rows(truth: Truth, written: str = "%Y-%m-%d %H:%M:%S") -> list[list[str]]:
    return [[tag, local(time, written), number(value)] for time, tag, value in rows_of(truth)]


def judged(cells: list[tuple[float, str, int, str | None]], head: list[str], *, tag: str = "TI1") -> tuple[str, dict]:
    """A tag with a quality beside each value: the text, and what it means."""
    moments = [MORNING + timedelta(minutes=n) for n in range(len(cells))]
    rows = [[tag, utc(time), number(value), cell] for time, (value, cell, _, _) in zip(moments, cells, strict=True)]
    wanted = [Expected(t, value, quality, state) for t, (value, _, quality, state) in zip(moments, cells, strict=True)]
    return lines([head, *rows]), {tag: wanted}


WORDS, WORDS_MEAN = judged(
    [
        (1, "Good", GOOD, None),
        (2, "Uncertain", UNCERTAIN, "Uncertain"),
        (9, "Bad", BAD, "Bad"),
        (3, "good", GOOD, None),
    ],
    ["Tag", "Timestamp", "Value", "Quality"],
)
OPC_DA, OPC_DA_MEAN = judged(
    [(1, "192", GOOD, None), (2, "64", UNCERTAIN, None), (9, "0", BAD, None), (3, "216", GOOD, None)],
    ["TagName", "DateTime", "Value", "OPCQuality"],
)
OPC_UA, OPC_UA_MEAN = judged(
    [(1, "0", GOOD, None), (2, str(0x40000000), UNCERTAIN, None), (9, str(0x80310000), BAD, None)],
    ["TagName", "DateTime", "Value", "OPCQuality"],
)
OWN, OWN_MEAN = judged(
    [(1, "0", GOOD, None), (2, "1", BAD, None), (3, "2", UNCERTAIN, None)], ["point", "ts", "val", "status"]
)


def case(name: str, text: str, truth: Truth, **more: object) -> Case:
    return Case(**{"name": name, "files": {"export.csv": text.encode()}, "expected": expected(truth), **more})


def _bias_rows() -> list[list[str]]:
    """Local stamps with their distance from UTC as Windows counts it: UTC = local + bias [min]."""
    return [
        [tag, local(time), str(-int(time.astimezone(ZURICH).utcoffset().total_seconds() // 60)), number(value)]
        for time, tag, value in rows_of(CLOCKS)
    ]


GERMAN: Truth = {
    "T_Kühler [°C]": minutes(MORNING, [20.5, 1234.5, -0.25]),
    "Füllstand": minutes(MORNING, [1.0, "gestört", 1234567.5]),
}
SKIPPED: Truth = {"A": [(t, v) for t, v in minutes(SPRING, [float(n) for n in range(8)], every=20)]}
"""01:00 to 03:20 UTC and on; the local clock jumps from 01:40 to 03:00."""

LONG: tuple[Case, ...] = (
    case("long, UTC", lines([HEAD, *STAMPED]), PLANT),
    case("long, quality in words", WORDS, {}, expected=WORDS_MEAN, report={"bad": 1, "uncertain": 1}),
    case("long, OPC DA codes", OPC_DA, {}, expected=OPC_DA_MEAN, options={"quality": "opc-da"}),
    case("long, OPC UA codes", OPC_UA, {}, expected=OPC_UA_MEAN, options={"quality": "opc-ua"}),
    case(
        "long, codes of their own",
        OWN,
        {},
        expected=OWN_MEAN,
        options={"quality": {"0": "good", "1": "bad", "2": "uncertain"}},
        answers={"history.options.quality": {"0": "good", "1": "bad", "2": "uncertain"}},
    ),
    case("long, tabs and CRLF", lines([HEAD, *STAMPED], "\t", "\r\n"), PLANT),
    case("long, upright bars", lines([HEAD, *STAMPED], "|"), PLANT),
    case("long, newest first", lines([HEAD, *STAMPED[::-1]]), PLANT),
    case(
        "long, shuffled and doubled",
        lines([HEAD, *STAMPED[7:], *STAMPED[:9], STAMPED[3]]),
        PLANT,
        report={"duplicates": 3},
    ),
    case("long, quoted", lines([HEAD, *([f'"{cell}"' for cell in row] for row in STAMPED)]), PLANT),
    case("long, blanks around cells", lines([HEAD, *([f"  {cell} " for cell in row] for row in STAMPED)]), PLANT),
    case("long, columns in another order", lines([HEAD[::-1], *(row[::-1] for row in STAMPED)]), PLANT),
    case(
        "long, a comma in a name",
        lines([HEAD, ['"L, ""north"""', utc(MORNING), "2.5"]]),
        {'L, "north"': [(MORNING, 2.5)]},
    ),
    case(
        "long, names that differ by case and blanks",
        lines([HEAD, *([n, utc(MORNING), str(i)] for i, n in enumerate(["TI 1.PV", "TI1.PV", "ti1.pv", "TI_1_PV"]))]),
        {name: [(MORNING, float(i))] for i, name in enumerate(["TI 1.PV", "TI1.PV", "ti1.pv", "TI_1_PV"])},
    ),
    case("long, last line half written", lines([HEAD, *STAMPED])[:-1] + "\nTI101.PV,2024-05-13T0", PLANT),
    case(
        "long, autumn in order",
        lines([HEAD, *local_rows(CLOCKS)]),
        CLOCKS,
        timezone="Europe/Zurich",
        report={"ambiguous_times": 22},
    ),
    case(
        "long, autumn by tag",
        lines([HEAD, *sorted(local_rows(CLOCKS), key=lambda row: row[0])]),
        CLOCKS,
        timezone="Europe/Zurich",
    ),
    case("long, autumn newest first", lines([HEAD, *local_rows(CLOCKS)[::-1]]), CLOCKS, timezone="Europe/Zurich"),
    case(
        "long, spring",
        lines([HEAD, *local_rows(SKIPPED)]),
        SKIPPED,
        timezone="Europe/Zurich",
        report={"missing_times": 0},
    ),
    case(
        "long, time bias",
        lines([["Tag", "Time", "Time Bias", "Value"], *_bias_rows()]),
        CLOCKS,
        options={"time": {"bias": {"column": "Time Bias", "means": "utc - local"}}},
        answers={"history.options.time.bias.means": "utc - local"},
    ),
    case(
        "long, comma before the milliseconds and units",
        lines(
            [
                ["Name", "Zeit", "Wert", "Einheit"],
                *(
                    [tag, local(time, "%Y-%m-%d %H:%M:%S,000"), number(value), "°C" if tag[0] == "T" else "kg/h"]
                    for time, tag, value in rows_of(NUMBERS)
                ),
            ],
            ";",
        ),
        NUMBERS,
        timezone="Europe/Zurich",
        report={"units": {"TI101.PV": "°C", "FIC101.SP": "kg/h"}},
    ),
    case(
        "long, German, cp1252, thousands points",
        "",
        GERMAN,
        files={
            "export.csv": lines(
                [
                    ["Messstelle", "Zeitstempel", "Messwert"],
                    *(
                        [tag, local(time, "%d.%m.%Y %H:%M:%S"), number(value, ",", ".")]
                        for time, tag, value in rows_of(GERMAN)
                    ),
                ],
                ";",
                "\r\n",
            ).encode("cp1252")
        },
        timezone="Europe/Zurich",
        options={"decimal": ","},
    ),
    case(
        "long, date and time apart",
        lines(
            [
                ["Date", "Time", "TagName", "Value"],
                *(
                    [local(time, "%d.%m.%Y"), local(time, "%H:%M:%S"), tag, number(value)]
                    for time, tag, value in rows_of(PLANT)
                ),
            ]
        ),
        PLANT,
        timezone="Europe/Zurich",
        options={"time": {"date": "Date", "column": "Time", "format": "%d.%m.%Y %H:%M:%S"}},
    ),
    case(
        "long, Unix seconds",
        lines([HEAD, *([tag, str(int(time.timestamp())), number(value)] for time, tag, value in rows_of(PLANT))]),
        PLANT,
        options={"time": {"unit": "s", "origin": "1970-01-01T00:00:00Z"}},
    ),
    case(
        "long, Unix milliseconds",
        lines(
            [HEAD, *([tag, str(int(time.timestamp() * 1000)), number(value)] for time, tag, value in rows_of(PLANT))]
        ),
        PLANT,
        options={"time": {"unit": "ms", "origin": "1970-01-01T00:00:00Z"}},
    ),
    case(
        "long, files by day that overlap",
        "",
        PLANT,
        files={"a.csv": lines([HEAD, *STAMPED[:8]]).encode(), "b.csv": lines([HEAD, *STAMPED[6:]]).encode()},
        report={"duplicates": 2},
    ),
    case(
        "long, columns called otherwise",
        lines([["sensor", "logged", "reading"], *STAMPED]),
        PLANT,
        options={"columns": {"tag": "sensor", "time": "logged", "value": "reading"}},
    ),
    case(
        "long, an empty value is a bad sample",
        lines([HEAD, ["A", utc(MORNING), "1"], ["A", utc(MORNING + timedelta(minutes=1)), ""]]),
        {},
        expected={"A": [Expected(MORNING, 1.0), Expected(MORNING + timedelta(minutes=1), None, BAD, "(empty)")]},
        report={"words": {"(empty)": 1}},
    ),
)
