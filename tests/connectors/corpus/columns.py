"""Text in the layouts between long and wide: one file per tag, pairs, value and quality in turn, sections."""

from __future__ import annotations

from datetime import timedelta
from itertools import zip_longest

from corpus.case import (
    BAD,
    GOOD,
    MORNING,
    PLANT,
    UNCERTAIN,
    Case,
    Expected,
    Truth,
    at,
    expected,
    lines,
    local,
    number,
    rows_of,
    utc,
)

PAIRED: Truth = {
    "Tank1\\Level": [(at("2024-05-11T06:00:00") + timedelta(days=n), 1.5 * n) for n in range(5)],
    "Tank2\\Level": [(at("2024-05-02T06:00:00") + timedelta(days=n), 10.25 + n) for n in range(3)],
}
"""The second tag alone would leave open whether days or months come first."""


def pairs(truth: Truth, written: str, heads: list[str], blank: str = "") -> list[list[str]]:
    cells = [[(local(time, written), number(value)) for time, value in samples] for samples in truth.values()]
    return [heads, *([each for pair in row for each in pair] for row in zip_longest(*cells, fillvalue=(blank, blank)))]


FACTORYTALK = [f"{tag} {what}" for tag in PAIRED for what in ("TimeStamp", "Value")]
CODES = {GOOD: "192", UNCERTAIN: "64", BAD: "0"}
SPOKEN = {GOOD: "Good", UNCERTAIN: "Uncertain", BAD: "Bad"}
JUDGED = {
    "A": [(1.0, GOOD), (2.0, GOOD), (9.0, BAD), (3.0, UNCERTAIN)],
    "B": [(5.0, GOOD), (9.0, BAD), (5.5, GOOD), (6.0, GOOD)],
}


def interleaved(names: dict[int, str], value: str, quality: str) -> list[list[str]]:
    rows = [
        [utc(MORNING + timedelta(minutes=n)), *(cell for v, q in step for cell in (number(v), names[q]))]
        for n, step in enumerate(zip(*JUDGED.values(), strict=True))
    ]
    return [
        ["time", *(each for tag in JUDGED for each in (tag + value, (tag if quality[0] != "q" else "") + quality))],
        *rows,
    ]


def judged(words: bool) -> dict[str, list[Expected]]:
    return {
        tag: [
            Expected(MORNING + timedelta(minutes=n), v, q, SPOKEN[q] if words and q != GOOD else None)
            for n, (v, q) in enumerate(samples)
        ]
        for tag, samples in JUDGED.items()
    }


def one_per_tag(head: list[str] | None) -> dict[str, bytes]:
    return {
        f"{tag}.csv": lines([*([head] if head else []), *([local(t), number(v)] for t, v in samples)], ";").encode()
        for tag, samples in PLANT.items()
    }


PROFICY_TAGS = [
    "[Tags]",
    "Tagname,Description,EngineeringUnits,HiEngineeringUnits,LoEngineeringUnits",
    "TI101.PV,reactor top,degC,150,-50",
    "FIC101.SP,feed setpoint,kg/h,2000,0",
    "PI 7.PV,head,bar,2,0",
]


def proficy(written: tuple[str, ...], split: bool = False) -> bytes:
    rows = [
        f"{tag},{local(time, written[n % len(written)])},{number(value) if not isinstance(value, str) else ''},"
        f"{'Good' if not isinstance(value, str) else 'Bad'}"
        for n, (time, tag, value) in enumerate(rows_of(PLANT))
    ]
    head = "Tagname,TimeStamp,Value,DataQuality"
    half = len(rows) // 2
    data = ["[Data]", head, *rows[:half], *(["", "[Data]", head] if split else []), *rows[half:]]
    return ("\r\n".join(["* Exported from Proficy Historian", *PROFICY_TAGS, "", *data]) + "\r\n").encode("cp1252")


PROFICY = {
    tag: [Expected(t, None, BAD, "(empty)") if isinstance(v, str) else Expected(t, v) for t, v in samples]
    for tag, samples in PLANT.items()
}
WITH_UNITS = {"units": {"TI101.PV": "degC", "FIC101.SP": "kg/h", "PI 7.PV": "bar"}}

COLUMNS: tuple[Case, ...] = (
    Case(
        name="one file per tag",
        files=one_per_tag(["time", "value"]),
        expected=expected(PLANT),
        timezone="Europe/Zurich",
        options={"layout": "single"},
    ),
    Case(
        name="one file per tag, no header",
        files=one_per_tag(None),
        expected=expected(PLANT),
        timezone="Europe/Zurich",
        options={"layout": "single", "header": []},
    ),
    Case(
        name="pairs of FactoryTalk in UTF-16",
        timezone="Europe/Zurich",
        expected=expected(PAIRED),
        files={"export.csv": lines(pairs(PAIRED, "%d/%m/%Y %H:%M:%S", FACTORYTALK), "\t", "\r\n").encode("utf-16")},
    ),
    Case(
        name="pairs under the names of their tags",
        timezone="Europe/Zurich",
        expected=expected(PAIRED),
        files={
            "export.csv": lines(pairs(PAIRED, "%Y-%m-%d %H:%M:%S", ["Tank1\\Level", "", "Tank2\\Level", ""])).encode()
        },
        options={"layout": "pairs"},
    ),
    Case(
        name="pairs with a quality each",
        timezone="Europe/Zurich",
        expected={"A": judged(True)["A"]},
        files={
            "export.csv": lines(
                [
                    ["A TimeStamp", "A Value", "A Status"],
                    *([local(e.time), number(e.value or 0.0), SPOKEN[e.quality]] for e in judged(True)["A"]),
                ]
            ).encode()
        },
    ),
    Case(
        name="value and OPC DA quality in turn",
        files={"export.csv": lines(interleaved(CODES, "", "quality")).encode()},
        expected=judged(False),
        options={"layout": "interleaved", "quality": "opc-da"},
    ),
    Case(
        name="value and quality in words in turn",
        files={"export.csv": lines(interleaved(SPOKEN, ".Value", ".Status"), ";").encode()},
        expected=judged(True),
        options={"layout": "interleaved"},
    ),
    Case(
        name="Proficy sections",
        files={"export.csv": proficy(("%d-%b-%y %H:%M:%S",))},
        timezone="Europe/Zurich",
        expected=PROFICY,
        report=WITH_UNITS,
    ),
    Case(
        name="Proficy sections with three date formats",
        timezone="Europe/Zurich",
        expected=PROFICY,
        report=WITH_UNITS,
        files={"export.csv": proficy(("%d-%b-%y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"))},
    ),
    Case(
        name="Proficy with two data sections",
        files={"export.csv": proficy(("%d-%b-%Y %H:%M:%S",), split=True)},
        timezone="Europe/Zurich",
        expected=PROFICY,
        report=WITH_UNITS,
    ),
    Case(
        name="value and quality in turn, empty rows of others",
        options={"layout": "interleaved"},
        files={
            "export.csv": lines(
                [
                    ["time", "A", "A.Quality", "B", "B.Quality"],
                    [utc(MORNING), "1", "Good", "", ""],
                    [utc(MORNING + timedelta(minutes=1)), "", "", "2", "Good"],
                    [utc(MORNING + timedelta(minutes=2)), "", "Bad", "3", "Bad"],
                ]
            ).encode()
        },
        expected={
            "A": [Expected(MORNING, 1.0), Expected(MORNING + timedelta(minutes=2), None, BAD, "Bad")],
            "B": [
                Expected(MORNING + timedelta(minutes=1), 2.0),
                Expected(MORNING + timedelta(minutes=2), 3.0, BAD, "Bad"),
            ],
        },
    ),
)
