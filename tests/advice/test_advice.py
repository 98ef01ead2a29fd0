"""Advice as a value, as JSON, as a table and as a line on the disk."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from procmodel.advice import Action, Advice, ConsoleSink, GivenUp, JsonLinesSink, Margin, Move, Outlook, Tee
from procmodel.advice.describe import limit_status
from procmodel.advice.show import render

AT = datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
MOVE = Advice(
    action=Action.MOVE,
    reason="What decides: TI1.PV high limit 90 degC.",
    at=AT,
    expires=AT + timedelta(seconds=10),
    plant="small-plant",
    model="m1",
    moves=(
        Move(
            tag="FC1.SP", unit="kg/h", current=40.0, recommended=45.0, delta=5.0, low=0.0, high=100.0, up=5.0,
            down=5.0, clamp="largest move up",
        ),
        Move(
            tag="[a]", unit="V", current=1.0, recommended=1.0, delta=0.0, low=-math.inf, high=3.0, up=math.inf,
            down=math.inf,
        ),
    ),
    outlooks=(
        Outlook(
            tag="TI1.PV", unit="degC", measured=math.nan, end=89.5, least=70.0, most=89.5, unmoved_end=93.0,
            low=-math.inf, high=90.0, setpoint=math.nan, status="inside",
        ),
    ),
    margins=(Margin(name="foaming", unit="mm", rank=2, least=-0.5),),
    give_ups=(GivenUp(tag="foaming", side="low", limit=0.0, amount=0.5, rank=2),),
    active=("TI1.PV high limit 90 degC",),
    solve="converged",
    data_age=3.0,
    surprise=1.2,
    notes=("TI1.PV has no good sample now; what is said of it rests on the model.",),
)  # fmt: skip


def shown(advice: Advice, zone: str = "Europe/Zurich") -> str:
    out = io.StringIO()
    render(advice, Console(file=out, width=160), zone=ZoneInfo(zone))
    return out.getvalue()


def test_json_knows_null_and_no_nan() -> None:
    data = json.loads(json.dumps(MOVE.to_dict(), allow_nan=False))
    assert data["action"] == "move"
    assert data["at"] == "2024-03-31T01:30:00+00:00"
    assert data["outlooks"][0]["measured"] is None
    assert data["outlooks"][0]["low"] is None
    assert data["surprise_limit"] is None
    assert data["moves"][0]["recommended"] == 45.0
    assert data["hash"].startswith(data["id"])


def test_the_hash_changes_with_every_word_and_number_and_with_nothing_else() -> None:
    assert replace(MOVE).digest == MOVE.digest
    other = replace(MOVE, moves=(replace(MOVE.moves[0], recommended=45.0 + 1e-12), MOVE.moves[1]))
    assert len({MOVE.digest, other.digest, replace(MOVE, reason="Another.").digest}) == 3


def test_a_hold_sets_nothing_and_needs_a_reason_and_aware_times() -> None:
    hold = Advice.hold(reason="The newest sample is 90 s old.", at=AT, expires=AT, plant="p")
    assert hold.action is Action.HOLD
    assert hold.setpoints == {}
    with pytest.raises(ValueError, match="reason"):
        Advice.hold(reason="", at=AT, expires=AT, plant="p")
    with pytest.raises(ValueError, match="aware"):
        Advice.hold(reason="x", at=AT.replace(tzinfo=None), expires=AT, plant="p")


def test_the_table_says_everything_in_words_and_in_the_plant_s_zone() -> None:
    text = shown(MOVE)
    # 01:30 UTC on that day is half an hour after the clock went from 2 to 3.
    assert "2024-03-31 03:30:00 CEST" in text
    assert "Not to be followed after 03:30:10 CEST" in text
    for words in (
        "MOVE", MOVE.id, "FC1.SP", "45", "up 5", "0 to 100", "largest move up", "[a]", "none", "below 90",
        "foaming (margin)", "not kept", "Gives up foaming low 0 (rank 2) by 0.5 mm", "data 3 s old",
        "no good sample now", "surprise 1.2", "no safety function",
    ):  # fmt: skip
        assert words in text, words


def test_a_hold_is_shown_with_its_reason_and_no_value_to_set() -> None:
    moves = tuple(replace(move, recommended=math.nan, delta=math.nan) for move in MOVE.moves)
    text = shown(replace(MOVE, action=Action.HOLD, reason="The newest sample is 90 s old.", moves=moves))
    assert "HOLD" in text
    assert "90 s old" in text
    assert "as it is" in text
    assert "45" not in text
    assert "Not to be followed after" not in text


@pytest.mark.parametrize(
    ("measured", "trend", "status"),
    [
        (5.0, [5.0, 6.0], "inside"),
        (5.0, [5.0, 11.0], "leaves"),
        (5.0, [11.0, 9.0], "leaves, returns"),
        (11.0, [11.0, 9.0], "outside, returns"),
        (11.0, [11.0, 12.0], "outside"),
        (math.nan, [5.0], "inside"),
        (5.0, [], "unknown"),
        (5.0, [math.nan], "unknown"),
    ],
)
def test_the_status_says_where_a_cv_stands_and_goes(measured: float, trend: list[float], status: str) -> None:
    assert limit_status(measured, trend, 0.0, 10.0) == status
    assert limit_status(measured, trend, -math.inf, math.inf) == "no limits"


def test_json_lines_are_appended_and_a_line_cut_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "advice.jsonl"
    JsonLinesSink(path).show(MOVE)
    with path.open("a") as file:
        file.write('{"id": "cut sho')
    JsonLinesSink(path).show(MOVE)
    JsonLinesSink(path).show(MOVE)
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert [json.loads(lines[i])["id"] for i in (0, 2, 3)] == [MOVE.id] * 3


def test_advice_that_cannot_be_recorded_is_not_shown(tmp_path: Path) -> None:
    out = io.StringIO()
    (tmp_path / "advice.jsonl").mkdir()
    sinks = Tee([JsonLinesSink(tmp_path / "advice.jsonl"), ConsoleSink(Console(file=out))])
    with pytest.raises(OSError, match="directory"):
        sinks.show(MOVE)
    assert out.getvalue() == ""
