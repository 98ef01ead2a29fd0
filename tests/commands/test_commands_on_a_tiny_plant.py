"""Each command's JSON, files and exit code, from an export of 900 rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Command = Callable[..., CompletedProcess[str]]


def no_constant(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def json_of(done: CompletedProcess[str]) -> dict[str, Any]:
    """The one object on stdout, strictly read."""
    found = json.loads(done.stdout, parse_constant=no_constant)
    assert isinstance(found, dict)
    return found


def test_ingest_tells_what_it_stored(command: Command, site: Path) -> None:
    done = command("ingest", site / "plant.yaml", "--out", site / "fresh", "--json")
    assert done.returncode == 0, done.stderr
    facts = json_of(done)
    assert (facts["plant"], facts["sample_time_s"], facts["campaigns"]) == ("tiny", 10.0, ["record"])
    assert facts["rows"] in (899, 900)
    assert datetime.fromisoformat(facts["start"]) == datetime.fromisoformat("2026-03-01T00:00:00+00:00")
    assert {"grid.parquet", "manifest.json"} <= {path.name for path in (site / "fresh" / "dataset").iterdir()}
    assert "Reading and conditioning the history: done after" in done.stderr


def test_ingest_takes_the_asked_range_and_no_more(command: Command, site: Path) -> None:
    asked = ("--start", "2026-03-01T02:00:00+01:00", "--end", "2026-03-01T01:30:00Z")
    facts = json_of(command("ingest", site / "plant.yaml", "--out", site / "fresh", "--json", *asked))
    assert facts["rows"] == 180
    assert datetime.fromisoformat(facts["start"]) == datetime.fromisoformat("2026-03-01T01:00:00+00:00")


def test_ingest_for_people_fits_in_a_few_lines(command: Command, site: Path) -> None:
    done = command("ingest", site / "plant.yaml", "--out", site / "fresh")
    assert done.returncode == 0
    assert "rows of 10 s from 2026-03-01" in done.stdout
    assert f"Dataset: {site / 'fresh' / 'dataset'}" in done.stdout


def test_train_tells_what_it_found_and_stores_a_model(trained: tuple[Path, CompletedProcess[str]]) -> None:
    folder, done = trained
    assert done.returncode == 0, done.stderr
    facts = json_of(done)
    assert facts["plant"] == "tiny"
    assert set(facts["excitation"]) == {"FC1.SP"}
    (member,) = facts["members"]
    assert member["seed"] == 0
    assert member["action_use"]["real"] < member["action_use"]["shuffled"]
    assert set(facts["seconds"]) == {"ingest", "train"}
    assert Path(facts["model"]) == folder / "out" / "model"
    left = {path.name for path in (folder / "out").iterdir()}
    assert {"dataset", "model", "mlflow.db"} <= left
    assert "training" not in left  # nothing to resume from once it is whole


def test_evaluate_judges_and_writes_a_report_that_needs_nothing_else(command: Command, site: Path) -> None:
    done = command("evaluate", site / "plant.yaml", "--out", site / "out", "--json")
    assert done.returncode == 0, done.stderr
    results = json_of(done)
    assert results["gains"]["gate"]["passed"] is True
    (pair,) = results["gains"]["table"]
    assert (pair["mv"], pair["cv"], pair["model"]["sign"]) == ("FC1.SP", "LI1.PV", "+")
    entry = results["open_loop"]["LI1.PV"]
    for who in ("model", "persistence", "arx"):
        assert {"1", "30"} <= set(entry[who])
        assert entry[who]["30"]["over_std"] > 0
    assert entry["model"]["30"]["over_std"] < entry["persistence"]["30"]["over_std"]
    report = Path(results["report"])
    assert report == site / "out" / "evaluation" / "report.html"
    html = report.read_text(encoding="utf-8")
    assert html.count("<svg") >= 4
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", html) == []
    assert "@import" not in html
    assert "<script src" not in html


def test_a_record_without_bad_samples_is_drawn_without_a_warning(command: Command, site: Path) -> None:
    lines = (site / "export.csv").read_text(encoding="utf-8").splitlines()
    whole = [line for line in lines if "Bad" not in line]
    assert len(whole) < len(lines)
    (site / "export.csv").write_text("\n".join(whole) + "\n", encoding="utf-8")
    assert command("evaluate", site / "plant.yaml", "--out", site / "out").returncode in (0, 1)


def test_evaluate_says_no_where_a_declared_sign_is_not_found(command: Command, site: Path) -> None:
    plant = site / "plant.yaml"
    plant.write_text(plant.read_text(encoding="utf-8").replace("{sign: +}", '{sign: "-"}'), encoding="utf-8")
    done = command("evaluate", plant, "--out", site / "out")
    assert done.returncode == 1, done.stderr
    assert "FC1.SP" in next(line for line in done.stdout.splitlines() if line.startswith("Declared signs:"))
    held = command("advise", plant, "--out", site / "out", "--at", "latest", "--json", "--setpoint", "LI1.PV=70")
    advice = json_of(held)
    assert (held.returncode, advice["action"]) == (1, "hold")
    assert "step responses are not trusted" in advice["reason"]


def test_advice_on_an_old_record_is_a_hold_that_names_its_age(command: Command, site: Path) -> None:
    now = datetime.fromisoformat("2026-03-04T02:30:00+00:00")  # the record ends on the 1st at 02:29:50
    for clock in ((), ("--at", now.isoformat())):
        done = command("advise", site / "plant.yaml", "--out", site / "out", "--json", *clock)
        assert done.returncode == 1, done.stderr
        advice = json_of(done)
        assert advice["action"] == "hold"
        assert "the newest sample is" in advice["reason"]
        assert "2026-03-01T02:29:50" in advice["reason"]
        assert "allows 60 s" in advice["reason"]
    assert "3 days old" in advice["reason"]
    told = command("advise", site / "plant.yaml", "--out", site / "out")
    assert told.returncode == 1
    assert "HOLD" in told.stdout


@pytest.mark.parametrize("target", [None, 20.0, 75.0])
@pytest.mark.parametrize("clock", ["latest", "2026-03-01T02:00:00+00:00"])
def test_advice_is_a_move_within_limits_or_a_hold_with_a_reason(
    command: Command, site: Path, target: float | None, clock: str
) -> None:
    asked = () if target is None else ("--setpoint", f"LI1.PV={target}")
    done = command("advise", site / "plant.yaml", "--out", site / "out", "--json", "--at", clock, *asked)
    advice = json_of(done)
    assert len(advice["reason"]) > 10
    assert done.returncode == {"move": 0, "hold": 1}[advice["action"]]
    if advice["action"] == "move":
        (move,) = advice["moves"]
        assert move["tag"] == "FC1.SP"
        assert 0 <= move["recommended"] <= 100
        assert abs(move["delta"]) <= 5 + 1e-9
        assert move["recommended"] == pytest.approx(move["current"] + move["delta"])
        at, expires = (datetime.fromisoformat(advice[key]) for key in ("at", "expires"))
        assert expires - at == timedelta(seconds=10)


def test_a_setpoint_far_above_opens_the_valve_and_one_far_below_closes_it(command: Command, site: Path) -> None:
    deltas = {}
    for target in (20.0, 75.0):
        words = ("--json", "--at", "latest", "--setpoint", f"LI1.PV={target}")
        advice = json_of(command("advise", site / "plant.yaml", "--out", site / "out", *words))
        assert advice["action"] == "move", advice["reason"]
        deltas[target] = advice["moves"][0]["delta"]
    assert deltas[20.0] < -1
    assert deltas[75.0] > 1


def test_advice_explains_itself_and_takes_a_tick_s_own_limits_and_statuses(command: Command, site: Path) -> None:
    words = (
        "advise",
        site / "plant.yaml",
        "--out",
        site / "out",
        "--json",
        "--at",
        "latest",
        "--setpoint",
        "LI1.PV=75",
    )
    advice = json_of(command(*words, "--explain"))
    text = "\n".join(advice["explanation"])
    assert "cost per advice: " in text
    assert re.search(r"gain on LI1.PV \[cm per unit\]: FC1.SP \+\S+ \(declared \+\)", text)
    assert re.search(r"Should come to rest at FC1.SP \S+ kg/h, LI1.PV 7\S+ cm \(by the ", text)
    assert advice["rest"] is None  # no target layer is asked
    now = advice["moves"][0]["current"]
    narrowed = json_of(command(*words, "--limit", f"FC1.SP high={now + 1}"))
    assert narrowed["moves"][0]["high"] == now + 1
    assert narrowed["action"] == "hold" or narrowed["moves"][0]["recommended"] <= now + 1
    still = command(*words, "--status", "FC1.SP=feed-forward")
    assert (still.returncode, "every MV is out of service" in json_of(still)["reason"]) == (1, True)
    for wrong in (("--limit", "FC1.SP=3"), ("--status", "FC1.SP=idle"), ("--limit", "FC1.SP high=500")):
        assert command(*words, *wrong).returncode == 2


def test_what_is_calculated_is_kept_shown_and_priced(command: Command, site: Path) -> None:
    """Twice the valve is to stay below where it stands now, so that a higher level cannot be had."""
    plant = site / "plant.yaml"
    words = (plant, "--out", site / "out", "--at", "latest", "--setpoint", "LI1.PV=75")
    free = json_of(command("advise", *words, "--json"))
    assert free["calculated"] == []
    (move,) = free["moves"]
    assert move["delta"] > 1
    most = 2 * move["current"]
    entry = f"advice: {{constraints: {{load: {{expression: 2 * FC1.SP, unit: kg/h, limits: {{high: {most!r}}}}}}}, "
    plant.write_text(plant.read_text(encoding="utf-8").replace("advice: {", entry), encoding="utf-8")
    kept = json_of(command("advise", *words, "--json", "--explain"))
    assert kept["moves"][0]["delta"] == pytest.approx(0.0, abs=0.01)
    (load,) = kept["calculated"]
    assert (load["tag"], load["unit"], load["high"]) == ("load", "kg/h", most)
    assert load["measured"] == pytest.approx(most)
    assert load["most"] <= most + 0.02
    assert any(words.startswith("load high") for words in kept["active"])
    assert any(re.match(r"limit load high \S+ costs \S+ per kg/h", line) for line in kept["explanation"])
    looser = json_of(command("advise", *words, "--json", "--limit", f"load high={most + 4}"))
    assert looser["moves"][0]["delta"] == pytest.approx(2.0, abs=0.02)
    told = command("advise", *words).stdout
    assert re.search(r"load +kg/h", told)


def test_a_target_layer_tells_with_the_advice_where_the_plant_should_rest(command: Command, site: Path) -> None:
    """The level's setpoint is where it should rest; a valve that must not go there leaves it short of it."""
    text = (site / "plant.yaml").read_text(encoding="utf-8")
    (site / "plant.yaml").write_text(text.replace("max_age: 1 min", "max_age: 1 min, target_layer: true"), "utf-8")
    words = ("advise", site / "plant.yaml", "--out", site / "out", "--at", "latest", "--setpoint", "LI1.PV=75")
    advice = json_of(command(*words, "--json"))
    rest = {target["tag"]: target["value"] for target in advice["rest"]["targets"]}
    assert rest["LI1.PV"] == pytest.approx(75.0, abs=1.0)
    assert "Should come to rest at FC1.SP " in command(*words).stdout
    at = advice["moves"][0]["current"] + 1
    short = {t["tag"]: t["value"] for t in json_of(command(*words, "--json", "--limit", f"FC1.SP high={at}"))["rest"][
        "targets"]}  # fmt: skip
    assert short["FC1.SP"] == pytest.approx(at, abs=0.01)
    assert short["LI1.PV"] < rest["LI1.PV"] - 1.0


def test_advice_for_an_hour_ago_knows_nothing_of_what_came_later(command: Command, site: Path) -> None:
    words = ("--out", site / "out", "--json", "--at", "2026-03-01T01:30:00+00:00", "--setpoint", "LI1.PV=60")
    whole = json_of(command("advise", site / "plant.yaml", *words))
    lines = (site / "export.csv").read_text(encoding="utf-8").splitlines()
    (site / "export.csv").write_text("\n".join(lines[: 1 + 541]) + "\n", encoding="utf-8")  # ends at 01:30:00
    cut = json_of(command("advise", site / "plant.yaml", *words))
    assert cut["moves"] == whole["moves"]
    assert cut["outlooks"] == whole["outlooks"]


@pytest.mark.parametrize("kept", ["Bad", None])
def test_advice_inside_a_long_outage_is_a_hold_that_says_so(command: Command, site: Path, kept: str | None) -> None:
    lines = (site / "export.csv").read_text(encoding="utf-8").splitlines()
    gone = [f"{line.split(',')[0]},{kept},{kept}" for line in lines[201:601]] if kept else []
    (site / "export.csv").write_text("\n".join(lines[:201] + gone + lines[601:]) + "\n", encoding="utf-8")
    done = command("advise", site / "plant.yaml", "--out", site / "out", "--json", "--at", "2026-03-01T01:30:00+00:00")
    advice = json_of(done)
    assert (done.returncode, advice["action"]) == (1, "hold"), done.stderr
    assert "no history to advise from" in advice["reason"]
    assert ("none of them good" if kept else "Nothing was recorded in the range") in advice["reason"]


def test_advice_without_a_model_asks_for_one(command: Command, site: Path) -> None:
    done = command("advise", site / "plant.yaml", "--out", site / "nowhere")
    assert done.returncode == 2
    assert "No world model in" in done.stderr
    assert not (site / "nowhere").exists()


def test_a_plant_with_a_slow_layer_is_trained_and_advised_on_both_time_scales(command: Command, site: Path) -> None:
    plant = site / "plant.yaml"
    text = plant.read_text(encoding="utf-8").replace("setpoint: 52, ", "")
    plant.write_text(text + "slow: {row: 20 s, horizon: 4 min, window: 80 s}\n", encoding="utf-8")
    facts = json_of(command("train", plant, "--out", site / "out", "--json"))
    assert set(facts["seconds"]) == {"train", "train slow"}
    assert (site / "out" / "slow-model" / "manifest.json").exists()
    asked = ("--out", site / "out", "--at", "2026-03-01T02:00:00+00:00", "--explain", "--json")
    told = json_of(command("advise", plant, *asked))
    assert "no slow layer" not in told["reason"]
    assert any("the slow layer wants LI1.PV" in line for line in told["explanation"])
    (site / "out" / "slow-model" / "model.json").unlink()
    missing = command("advise", plant, *asked)
    assert missing.returncode == 2
    assert "slow-model" in missing.stderr
