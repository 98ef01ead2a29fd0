"""Bad input, through the real commands: one clear error, exit code 2, and what was there before untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Command = Callable[..., CompletedProcess[str]]
Spoil = Callable[[Path], None]


def nothing(site: Path) -> None:
    """The options are what is wrong."""


def replaced(name: str, old: str, new: str) -> Spoil:
    def spoil(site: Path) -> None:
        file = site / name
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def bad_level(site: Path) -> None:
    lines = (site / "export.csv").read_text(encoding="utf-8").splitlines()
    bad = [line.rpartition(",")[0] + ",Bad" for line in lines[1:]]
    (site / "export.csv").write_text("\n".join([lines[0], *bad]) + "\n", encoding="utf-8")


def flipped(name: str) -> Spoil:
    def spoil(site: Path) -> None:
        file = site / "out" / "model" / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    return spoil


@dataclass(frozen=True)
class Bad:
    """How the folder of a good plant is spoilt, what is asked of it, and what the error must say."""

    words: tuple[str, ...]
    spoil: Spoil
    says: tuple[str, ...]


def calculated(expression: str, limits: str = "{high: 9}") -> Spoil:
    entry = f"advice: {{constraints: {{load: {{expression: '{expression}', unit: '1', limits: {limits}}}}}, "
    return replaced("plant.yaml", "advice: {", entry)


INGEST, ADVISE = ("ingest",), ("advise", "--at", "latest")
BAD = {
    "missing plant file": Bad(INGEST, lambda site: (site / "plant.yaml").unlink(), ("plant.yaml",)),
    "missing export": Bad(INGEST, lambda site: (site / "export.csv").unlink(), ("export.csv", "history.path")),
    "empty plant file": Bad(INGEST, lambda site: (site / "plant.yaml").write_bytes(b"") and None, ("is empty",)),
    "empty export": Bad(INGEST, lambda site: (site / "export.csv").write_bytes(b"") and None, ("export.csv is empty",)),
    "unknown tag": Bad(INGEST, replaced("export.csv", "LI1.PV", "LI01.PV"), ("'LI1.PV'", "did you mean 'LI01.PV'")),
    "wrong unit": Bad(INGEST, replaced("plant.yaml", "unit: cm,", "unit: cm, source_unit: bar,"), ("LI1.PV", "bar")),
    "limits crossed": Bad(INGEST, replaced("plant.yaml", "[0, 100], max", "[100, 0], max"), ("FC1.SP", "limits")),
    "time stamps without a zone": Bad(INGEST, replaced("export.csv", "Z,", ","), ("no time zone", "history.timezone")),
    "no overlap, ingest": Bad(
        ("ingest", "--start", "2025-01-01T00:00:00Z", "--end", "2025-02-01T00:00:00Z"),
        nothing,
        ("2025-01-01", "2026-03-01"),
    ),
    "no overlap, advise": Bad(("advise", "--at", "2025-01-01T00:00:00Z"), nothing, ("2025-01-01", "2026-03-01")),
    "all samples bad": Bad(INGEST, bad_level, ("'LI1.PV'", "none of its 900 samples is usable")),
    "artifact of another plant": Bad(
        ADVISE, replaced("plant.yaml", "name: tiny", "name: other"), ("learned from plant 'tiny', not 'other'",)
    ),
    "artifact of another unit": Bad(ADVISE, replaced("plant.yaml", "unit: cm", "unit: mm"), ("unit", "has changed")),
    "weights flipped": Bad(ADVISE, flipped("member-0.safetensors"), ("member-0.safetensors is damaged",)),
    "facts flipped": Bad(ADVISE, flipped("model.json"), ("model.json is damaged", "procmodel train")),
    "dataset of another plant": Bad(("train",), replaced("plant.yaml", "unit: cm", "unit: mm"), ("procmodel ingest",)),
    "range without a zone": Bad(("ingest", "--start", "2026-03-01T00:00:00"), nothing, ("--start", "time zone")),
    "range without a date": Bad(("ingest", "--end", "tomorrow"), nothing, ("--end", "no ISO time")),
    "range the wrong way round": Bad(
        ("ingest", "--start", "2026-03-02T00:00Z", "--end", "2026-03-01T00:00Z"), nothing, ("--start", "before --end")
    ),
    "overlap without a unit": Bad(("ingest", "--update", "--overlap", "3"), nothing, ("--overlap: got '3'",)),
    "no record": Bad(("ingest", "--recorded", "nowhere"), nothing, ("--recorded nowhere", "no record there")),
    "clock without a zone": Bad(("advise", "--at", "2026-03-01T01:00:00"), nothing, ("--at", "time zone")),
    "constraint on an unknown tag": Bad(
        ADVISE,
        calculated("FC1.SP * LI01.PV"),
        ("plant.yaml line 10: advice.constraints.load.expression: unknown tag 'LI01.PV'", "Did you mean 'LI1.PV'"),
    ),
    "constraint without a finite value": Bad(
        ADVISE,
        calculated("log(0 - LI1.PV)"),
        ("advice.constraints.load.expression: 'log(0 - LI1.PV)'", "no finite value"),
    ),
    "constraint without limits": Bad(ADVISE, calculated("2 * LI1.PV", "{}"), ("line 10", "needs low, high or both")),
    "objective of an unknown tag": Bad(
        ADVISE,
        replaced("plant.yaml", "advice: {", "advice: {objective: 2 * FI1.PV, "),
        ("plant.yaml line 10: advice.objective: unknown tag 'FI1.PV'",),
    ),
    "setpoint of an unknown tag": Bad((*ADVISE, "--setpoint", "LI2.PV=50"), nothing, ("'LI2.PV'", "LI1.PV")),
    "setpoint of an MV": Bad((*ADVISE, "--setpoint", "FC1.SP=50"), nothing, ("'FC1.SP' is no CV",)),
    "setpoint without a value": Bad((*ADVISE, "--setpoint", "LI1.PV"), nothing, ("TAG=VALUE",)),
    "setpoint that is no number": Bad((*ADVISE, "--setpoint", "LI1.PV=nan"), nothing, ("finite",)),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gives_one_clear_error_and_leaves_all_as_it_was(command: Command, site: Path, what: str) -> None:
    bad = BAD[what]
    bad.spoil(site)
    before = contents(site)
    assert "out/model/model.json" in before
    assert "out/dataset/grid.parquet" in before

    name, *options = bad.words
    done = command(name, site / "plant.yaml", "--out", site / "out", "--json", *options)

    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("procmodel: ")]
    for part in bad.says:
        assert part in message
    assert contents(site) == before


def test_the_same_plant_unspoilt_gives_no_error(command: Command, site: Path) -> None:
    """Or the table above would prove nothing."""
    assert command("ingest", site / "plant.yaml", "--out", site / "out").returncode == 0
    assert command("advise", site / "plant.yaml", "--out", site / "out", "--at", "latest").returncode in (0, 1)


@pytest.mark.parametrize("name", ["ingest", "train", "check", "evaluate", "advise"])
@pytest.mark.parametrize("below", ["", "deeper"])
def test_an_out_that_is_a_file_is_one_error(command: Command, site: Path, name: str, below: str) -> None:
    done = command(name, site / "plant.yaml", "--out", site / "export.csv" / below)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{site / 'export.csv'} is a file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("demo", "--quick", "--out"), ("runs", "--out"), ("record", "plant.yaml", "--into")])
def test_a_folder_that_is_a_file_is_one_error_for_commands_without_a_model(
    command: Command, site: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(site)
    before = contents(site)
    done = command(*words, "export.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"procmodel: {site / 'export.csv'} is a file; {words[-1]} needs a folder. Name another. "
        "Nothing was begun.\n"
    )
    assert contents(site) == before


@pytest.mark.parametrize("option", ["--for", "--rotate", "--every"])
@pytest.mark.parametrize("text", ["3", "0 s", "-1 s", "1 parsec"])
def test_a_duration_of_record_that_is_none_is_told_with_its_option(
    command: Command, site: Path, option: str, text: str
) -> None:
    done = command("record", site / "plant.yaml", option, text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"procmodel: {option}")


def test_a_source_that_cannot_be_followed_leaves_no_folder(command: Command, site: Path) -> None:
    done = command("record", site / "plant.yaml", "--into", site / "record")
    assert done.returncode == 2
    assert "cannot be followed" in done.stderr
    assert not (site / "record").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(command: Command, site: Path) -> None:
    (site / "other" / "dataset").mkdir(parents=True)
    (site / "other" / "dataset" / "thesis.txt").write_text("years of work")
    done = command("ingest", site / "plant.yaml", "--out", site / "other")
    assert done.returncode == 2
    assert "holds no dataset; nothing was changed" in done.stderr
    assert contents(site / "other") == {"dataset/thesis.txt": b"years of work"}
