"""CSV as plants export it: encodings, delimiters, decimal signs, words among numbers, qualities, several files."""

from __future__ import annotations

import codecs
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.csv_files import CsvHistorian
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Role, Tag

T0 = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)
WIDE = "time;Füllstand [°C];B\n2024-05-01T06:00:00Z;1,5;2\n2024-05-01T06:01:00Z;-1.234,5;3\n"


def historian(folder: Path, text: str | bytes, *, tags: dict[str, Tag] | None = None, **history: Any) -> CsvHistorian:
    data = text.encode() if isinstance(text, str) else text
    (folder / "export.csv").write_bytes(data)
    return CsvHistorian(History(kind="csv", path=str(folder / "export.csv"), **history), tags or {})


def table(source: CsvHistorian, *tags: str) -> pl.DataFrame:
    frames = [pl.DataFrame(batch) for batch in source.read(Query(tags=tags))]
    return pl.concat(frames).with_columns(pl.col("tag").cast(pl.String))


def values(source: CsvHistorian, tag: str) -> list[float | None]:
    return table(source, tag)["value"].to_list()


@pytest.mark.parametrize(
    "data",
    [
        WIDE.encode(),
        codecs.BOM_UTF8 + WIDE.encode(),
        WIDE.encode("cp1252"),
        WIDE.encode("utf-16"),
        WIDE.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WIDE.encode("utf-16-be"),
        WIDE.replace("\n", "\r\n").encode(),
        b"sep=;\r\n" + WIDE.encode("cp1252"),
        b"\n\n" + WIDE.encode(),
        WIDE.replace("\n", "\n\n").encode(),
    ],
    ids=["utf-8", "byte-order mark", "cp1252", "utf-16", "utf-16 bare", "utf-16 be", "crlf", "sep=", "blank", "gaps"],
)
def test_every_encoding_gives_the_same_names_and_numbers(tmp_path: Path, data: bytes) -> None:
    source = historian(tmp_path, data, options={"decimal": ","})
    assert [info.name for info in source.search()] == ["Füllstand [°C]", "B"]
    assert values(source, "Füllstand [°C]") == [1.5, -1234.5]
    assert source.report.sources == {str(tmp_path / "export.csv"): hashlib.sha256(data).hexdigest()}


def test_a_late_sign_of_cp1252_is_seen_too(tmp_path: Path) -> None:
    text = "time,A,note\n" + "2024-05-01T06:00:00Z,1,\n" * 50_000 + "2024-05-01T07:00:00Z,2,°\n"
    assert values(historian(tmp_path, text.encode("cp1252")), "A") == [1.0, 2.0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_from_the_header(tmp_path: Path, delimiter: str) -> None:
    text = f"time,A,B\n{T0.isoformat()},1.5,\n".replace(",", delimiter)
    assert values(historian(tmp_path, text), "A") == [1.5]


def test_a_quoted_name_may_hold_the_delimiter_and_quotes(tmp_path: Path) -> None:
    source = historian(tmp_path, f'"time","Level, ""north""",B\n{T0.isoformat()},"2.5",1\n')
    assert values(source, 'Level, "north"') == [2.5]


@pytest.mark.parametrize(
    ("decimal", "cell", "value"),
    [
        (".", "1.5", 1.5),
        (".", " -2e3 ", -2000.0),
        (".", "+.5", 0.5),
        (",", "1,5", 1.5),
        (",", "1.234,5", 1234.5),
        (",", "-1.234.567,25", -1234567.25),
        (",", "12", 12.0),
        (",", "1,5e3", 1500.0),
    ],
)
def test_numbers_are_read_with_the_decimal_sign_that_is_set(
    tmp_path: Path, decimal: str, cell: str, value: float
) -> None:
    source = historian(tmp_path, f"time;A\n{T0.isoformat()};{cell}\n", options={"decimal": decimal})
    assert values(source, "A") == [value]


@pytest.mark.parametrize(
    ("decimal", "cell", "said"), [(".", "1,5", "comma"), (",", "1.5", "point"), (",", "12.3456", "point")]
)
def test_the_other_decimal_sign_is_an_error_and_never_half_a_column(
    tmp_path: Path, decimal: str, cell: str, said: str
) -> None:
    text = f"time;A\n2024-05-01T06:00:00Z;12\n2024-05-01T06:01:00Z;{cell}\n"
    with pytest.raises(HistorianError, match=f"'{cell}' is written with a decimal {said}") as caught:
        historian(tmp_path, text, options={"decimal": decimal}).read(Query(tags=("A",)))
    assert "Set history.options.decimal" in str(caught.value)


def test_words_among_numbers_are_bad_samples_that_are_counted_by_word(tmp_path: Path) -> None:
    cells = ["1.5", "Bad", "I/O Timeout", "NO DATA", "MISSING", "I/O Timeout", "NaN", "inf", "2.5"]
    text = "time,A\n" + "".join(f"2024-05-01T06:{minute:02}:00Z,{cell}\n" for minute, cell in enumerate(cells))
    source = historian(tmp_path, text)
    found = table(source, "A")
    assert found["value"].to_list() == [1.5, *[None] * 7, 2.5]
    assert found["quality"].to_list() == [Quality.GOOD, *[Quality.BAD] * 7, Quality.GOOD]
    assert found["state"].to_list() == [None, *cells[1:-1], None]
    assert source.report.words == {"I/O Timeout": 2, "Bad": 1, "NO DATA": 1, "MISSING": 1, "NaN": 1, "inf": 1}
    assert source.report.bad == 7


def test_an_empty_cell_is_no_sample_in_a_wide_table_and_a_bad_one_in_a_long_table(tmp_path: Path) -> None:
    wide = historian(tmp_path, "time,A,B\n2024-05-01T06:00:00Z,1,\n2024-05-01T06:01:00Z,,2\n2024-05-01T06:02:00Z, ,3\n")
    assert values(wide, "A") == [1.0]
    assert wide.report.bad == 0
    long = historian(tmp_path, "tag,time,value\nA,2024-05-01T06:00:00Z,1\nA,2024-05-01T06:01:00Z,\n")
    assert values(long, "A") == [1.0, None]
    assert long.report.words == {"(empty)": 1}


def quality_of(
    folder: Path, cells: list[str], quality: Any = None
) -> tuple[list[int], list[int | None], list[str | None]]:
    rows = "".join(f"A,2024-05-01T06:{minute:02}:00Z,{minute},{cell}\n" for minute, cell in enumerate(cells))
    options = {} if quality is None else {"quality": quality}
    found = table(historian(folder, f"Tag,Timestamp,Value,Quality\n{rows}", options=options), "A")
    return found["quality"].to_list(), found["status"].to_list(), found["state"].to_list()


def test_quality_in_words_is_understood_in_any_case_and_kept(tmp_path: Path) -> None:
    quality, status, state = quality_of(tmp_path, ["Good", "BAD", "uncertain", "Questionable", "good"])
    assert quality == [0, 2, 1, 1, 0]
    assert status == [None] * 5
    assert state == [None, "BAD", "uncertain", "Questionable", None]


def test_quality_codes_of_opc_da_are_decoded_by_their_two_top_bits_and_kept(tmp_path: Path) -> None:
    codes = [
        "192",
        "0",
        "64",
        "216",
        "24",
        "80",
    ]  # good, bad, uncertain; local override, comm failure, sensor inaccurate
    quality, status, state = quality_of(tmp_path, codes, "opc-da")
    assert quality == [0, 2, 1, 0, 2, 1]
    assert status == [192, 0, 64, 216, 24, 80]
    assert state == [None] * 6


def test_quality_codes_of_opc_ua_are_decoded_by_their_two_top_bits(tmp_path: Path) -> None:
    codes = [0, 0x40000000, 0x80000000, 0x80310000]  # Good, Uncertain, Bad, BadNoCommunication (OPC UA Part 4 and 8)
    assert quality_of(tmp_path, [str(code) for code in codes], "opc-ua")[:2] == ([0, 1, 2, 2], codes)


def test_quality_may_be_told_by_a_mapping_of_ones_own(tmp_path: Path) -> None:
    mapping = {"0": "good", "1": "bad", "estimated": "uncertain"}
    assert quality_of(tmp_path, ["0", "1", "Estimated"], mapping)[0] == [0, 2, 1]


def test_quality_that_only_says_what_is_amiss_leaves_the_rest_good(tmp_path: Path) -> None:
    assert quality_of(tmp_path, ["", "Bad", ""])[0] == [0, 2, 0]
    assert quality_of(tmp_path, ["Good", "Bad", ""])[0] == [0, 2, 1]


@pytest.mark.parametrize(
    ("cell", "message"),
    [("192", "0 is bad in OPC DA and good in OPC UA"), ("Substituted", "unknown quality 'Substituted'")],
)
def test_a_quality_that_could_mean_anything_is_asked_about(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(HistorianError, match=message) as caught:
        quality_of(tmp_path, [cell])
    assert "history.options.quality" in str(caught.value)


def test_a_bad_value_with_a_number_keeps_the_number(tmp_path: Path) -> None:
    source = historian(tmp_path, "tag,time,value,quality\nA,2024-05-01T06:00Z,1,Good\nA,2024-05-01T06:01Z,9,Bad\n")
    found = table(source, "A")
    assert found["value"].to_list() == [1.0, 9.0]
    assert found["quality"].to_list() == [0, 2]


def test_names_are_matched_to_the_letter_and_never_squeezed(tmp_path: Path) -> None:
    names = ["TI 101.PV", "TI101.PV", "ti101.pv", "TI_101_PV", "TI-101.PV"]
    rows = "".join(f"{name},2024-05-01T06:00:00Z,{index}\n" for index, name in enumerate(names))
    source = historian(tmp_path, f"tag,time,value\n{rows}")
    assert [values(source, name) for name in names] == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    with pytest.raises(HistorianError, match="'TI101 PV' is not in the record"):
        source.read(Query(tags=("TI101 PV",)))


def test_duplicated_rows_are_dropped_and_the_last_of_conflicting_ones_is_kept(tmp_path: Path) -> None:
    rows = [("06:00", 1), ("06:00", 1), ("06:01", 2), ("06:01", 3), ("06:02", 4), ("06:00", 1)]
    text = "time,A\n" + "".join(f"2024-05-01T{clock}:00Z,{value}\n" for clock, value in rows)
    source = historian(tmp_path, text)
    assert values(source, "A") == [1.0, 3.0, 4.0]
    assert source.report.duplicates == 3
    assert [note for note in source.report.notes if "several values" in note] == [
        "A: 1 stamp held several values; the last one in the file was kept"
    ]


def test_unsorted_rows_are_sorted_and_counted(tmp_path: Path) -> None:
    text = "time,A\n" + "".join(f"2024-05-01T06:0{minute}:00Z,{minute}\n" for minute in (0, 3, 1, 2, 4))
    source = historian(tmp_path, text)
    assert values(source, "A") == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert source.report.unsorted == 1


def test_a_file_with_the_newest_row_first_is_turned(tmp_path: Path) -> None:
    text = "time,A\n" + "".join(f"2024-05-01T06:0{minute}:00Z,{minute}\n" for minute in (4, 3, 2, 1, 0))
    assert values(historian(tmp_path, text), "A") == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_one_file_per_tag_and_files_that_continue_each_other_make_one_record(tmp_path: Path) -> None:
    (tmp_path / "a1.csv").write_text("time,A\n2024-05-01T06:00:00Z,1\n2024-05-01T06:01:00Z,2\n")
    (tmp_path / "a2.csv").write_text("time,A\n2024-05-01T06:01:00Z,2\n2024-05-01T06:02:00Z,3\n")
    (tmp_path / "b.csv").write_text("tag,time,value\nB,2024-05-01T06:00:00Z,7\n")
    source = CsvHistorian(History(kind="csv", path=["a*.csv", "b.csv"]), {}, base=tmp_path)
    found = table(source, "B", "A")
    assert found.select("tag", "value").rows() == [("B", 7.0), ("A", 1.0), ("A", 2.0), ("A", 3.0)]
    assert source.report.duplicates == 1
    assert len(source.report.sources) == 3


def test_a_file_that_grows_is_read_again_and_one_that_does_not_is_kept(tmp_path: Path) -> None:
    source = historian(tmp_path, "time,A\n2024-05-01T06:00:00Z,1\n")
    assert values(source, "A") == [1.0]
    with (tmp_path / "export.csv").open("a") as stream:
        stream.write("2024-05-01T06:01:00Z,2\n")
    assert values(source, "A") == [1.0, 2.0]
    (tmp_path / "export.csv").unlink()
    with pytest.raises(HistorianError, match="No file matches"):
        source.read(Query(tags=("A",)))


def test_a_line_that_is_still_being_written_is_left_out_and_said(tmp_path: Path) -> None:
    source = historian(tmp_path, "time,A,B\n2024-05-01T06:00:00Z,1,2\n2024-05-01T06:01")
    assert values(source, "A") == [1.0]
    assert any("not written to the end" in note and "2024-05-01T06:01" in note for note in source.report.notes)


def test_columns_of_a_long_table_may_have_any_name(tmp_path: Path) -> None:
    text = "Messstelle;Zeit;Wert;Güte\nA;2024-05-01T06:00:00Z;1,5;gut\n"
    columns = {"tag": "Messstelle", "time": "Zeit", "value": "Wert", "quality": "Güte"}
    source = historian(tmp_path, text, options={"columns": columns, "decimal": ",", "quality": {"gut": "good"}})
    assert values(source, "A") == [1.5]


def test_columns_are_renamed_to_the_plants_tags(tmp_path: Path) -> None:
    tags = {"EI1.SP": Tag(name="EI1.SP", role=Role.MV, unit="V"), "JI1.PV": Tag(name="JI1.PV", role=Role.CV, unit="W")}
    options = {"rename": {"input_voltage": "EI1.SP", "el_power": "JI1.PV"}}
    source = historian(tmp_path, "time,input_voltage,el_power\n2024-05-01T06:00Z,3,1200\n", tags=tags, options=options)
    assert [info.name for info in source.search()] == ["EI1.SP", "JI1.PV"]
    assert values(source, "JI1.PV") == [1200.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimeter": ";"}, r"history\.options: unknown key 'delimeter'; did you mean 'delimiter'\?"),
        ({"decimal": "x"}, r"history\.options\.decimal: got 'x', needs '\.' or ','"),
        ({"time": {"unit": "weeks"}}, r"history\.options\.time\.unit: got 'weeks'"),
        ({"time": {"unit": "s"}, "campaign": "file"}, r"history\.options\.time\.origin is missing"),
        ({"rename": {"a": "B.PV"}}, r"history\.options\.rename: 'a' -> unknown tag 'B\.PV'; did you mean 'A\.PV'\?"),
        ({"rename": {"a": "A.PV", "b": "A.PV"}}, "both become 'A.PV'"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    tags = {"A.PV": Tag(name="A.PV", role=Role.CV, unit="V")}
    with pytest.raises(PlantFileError, match=message):
        historian(tmp_path, "time,A\n", tags=tags, options=options)


def test_a_column_that_the_options_name_must_be_there(tmp_path: Path) -> None:
    source = historian(tmp_path, "zeit,A\n2024-05-01T06:00Z,1\n", options={"time": {"column": "Zeit"}})
    with pytest.raises(HistorianError, match="is 'Zeit', but the columns are zeit, A"):
        source.read(Query(tags=("A",)))


@pytest.mark.parametrize(
    "time", [{"date": "Date"}, {"bias": {"column": "Time Bias", "means": "utc - local"}}], ids=["date", "bias"]
)
def test_columns_beside_the_time_that_the_options_name_must_be_there_too(tmp_path: Path, time: dict[str, Any]) -> None:
    source = historian(tmp_path, "tag,time,value\nA,2024-05-01T06:00Z,1\n", options={"time": time})
    with pytest.raises(
        HistorianError, match=r"history\.options\.time\.(date|bias\.column) is '.*', but the columns are"
    ):
        source.read(Query(tags=("A",)))


@pytest.mark.parametrize("cell", ["19\u00b2", "+-5", "\u0661"])
def test_a_quality_that_only_looks_like_a_number_is_an_unknown_word(tmp_path: Path, cell: str) -> None:
    with pytest.raises(HistorianError, match="unknown quality"):
        quality_of(tmp_path, ["192", cell], "opc-da")
