"""The shape of every export in the corpus, found without its plant file, reads the same samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus import CASES, Case
from test_corpus import KINDS, assert_same, samples, write

from procmodel.data.exports import Shape, sniff
from procmodel.errors import HistorianError
from procmodel.plant import History


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_shape_that_is_found_reads_what_was_written(case: Case, tmp_path: Path) -> None:
    shape = sniff(write(case, tmp_path))
    answers = {**case.answers, **({"history.timezone": case.timezone} if case.timezone else {})}
    assert {question.key for question in shape.questions} == answers.keys()
    history = History(kind=shape.kind, path="*", timezone=case.timezone, options=shape.options(answers))
    historian = KINDS[case.kind](history, {}, base=tmp_path)
    assert {info.name for info in shape.tags} == case.expected.keys()
    assert_same(samples(historian, tuple(case.expected)), case)


def shape_of(folder: Path, text: str) -> Shape:
    (folder / "export.csv").write_text(text, encoding="utf-8")
    return sniff(folder / "export.csv")


def text_of(cells: list[str], delimiter: str = ";", quality: list[str] | None = None) -> str:
    rows = [
        delimiter.join([f"2024-05-01T06:{n:02}:00Z", cell, *([quality[n]] if quality else [])])
        for n, cell in enumerate(cells)
    ]
    return "\n".join([delimiter.join(["time", "TI1.PV", *(["TI1.PV quality"] if quality else [])]), *rows, ""])


@pytest.mark.parametrize(
    ("cells", "settings"),
    [
        (["1,5", "2,25"], {"decimal": ","}),
        (["1.234,5", "2"], {"decimal": ","}),
        (["1,234.5", "2"], {"thousands": ","}),
        (["1,234", "12.5"], {"thousands": ","}),
        (["1.234.567", "12"], {"decimal": ","}),
        (["1'234,5", "12"], {"decimal": ",", "thousands": "'"}),
        (["0.953", "1.234"], {}),
        (["1234.567", "1.234"], {}),
        (["Bad", "1,5"], {"decimal": ","}),
        (["12", "13"], {}),
    ],
)
def test_the_notation_of_numbers_is_decided_on_all_of_them(tmp_path: Path, cells: list[str], settings: dict) -> None:
    shape = shape_of(tmp_path, text_of(cells))
    assert dict(shape.settings) == settings
    assert shape.questions == ()


@pytest.mark.parametrize("cells", [["1,234", "5,678"], ["1.234", "5.678"]])
def test_a_sign_before_three_digits_everywhere_is_asked_about(tmp_path: Path, cells: list[str]) -> None:
    (question,) = shape_of(tmp_path, text_of(cells)).questions
    assert question.key == "history.options.decimal"
    assert cells[0][0] in question.text
    assert question.choices == (".", ",")


@pytest.mark.parametrize(
    ("quality", "asked"),
    [(["0", "0"], True), (["0", "1"], True), (["192", "0"], False), (["Good", "Bad"], False), (["Good", "ROT"], True)],
)
def test_qualities_that_could_mean_anything_are_asked_about(tmp_path: Path, quality: list[str], asked: bool) -> None:
    shape = shape_of(tmp_path, text_of(["1", "2"], quality=quality))
    assert [question.key for question in shape.questions] == (["history.options.quality"] if asked else [])
    assert shape.layout == "interleaved"


def test_days_or_months_first_is_asked_with_both_formats(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, "time;A\n03/04/2024 10:00;1\n04/04/2024 10:00;2\n")
    assert [question.key for question in shape.questions] == ["history.options.time.format", "history.timezone"]
    assert shape.questions[0].choices == ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")


def test_plain_numbers_without_an_origin_are_asked_about(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, "time,A\n0,1\n0.5,2\n")
    assert [question.key for question in shape.questions] == [
        "history.options.time.unit",
        "history.options.time.origin",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A,B\nx,y\nz,u\n", "found no column of time stamps"),
        ("time\n2024-05-01T06:00:00Z\n", "found no column of values"),
        ("time,A\n", "no rows below the header"),
        ("", "is empty"),
        ("time;A\n13/04/2024;1\n04/13/2024;2\n", "Days come first in '13/04/2024' and months in '04/13/2024'"),
    ],
)
def test_what_is_no_export_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(HistorianError, match=said):
        shape_of(tmp_path, text)


def test_files_of_several_kinds_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text_of(["1", "2"]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    (tmp_path / "c.doc").write_bytes(b"")
    with pytest.raises(HistorianError, match="An export is of one kind"):
        sniff(tmp_path)
    with pytest.raises(HistorianError, match=r"No connector is known for files that end in '\.doc'"):
        sniff(tmp_path / "c.doc")
    with pytest.raises(HistorianError, match="There is no"):
        sniff(tmp_path / "d.csv")


def test_files_of_two_layouts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tag,time,value\nTI1,2024-05-01T06:00:00Z,1\n")
    (tmp_path / "labels.csv").write_text("time,margin\n2024-05-01T06:00:00Z,0.5\n")
    with pytest.raises(HistorianError, match=r"labels\.csv has another layout than .*a\.csv, which is long"):
        sniff(tmp_path)
