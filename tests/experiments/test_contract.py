import json
import math

import numpy as np
import pytest

from experiments.contract import BOUNDS, Outcome, in_json, report_of, run_experiment
from experiments.recordings import folder_of


def studied(quick: bool) -> Outcome:
    """A study of nothing."""
    return Outcome(
        values={"two_way_r2": 0.9 if quick else 0.97},
        results={"by_seed": np.array([0.96, math.nan])},
        seeds=[0, 1],
        lines=["R2 0.97"],
    )


def test_a_report_holds_what_the_contract_asks_for(tmp_path, capsys):
    assert run_experiment("identifiability", studied, ["--json", "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"experiment", "claims", "results", "seeds", "seconds", "environment"}
    assert report["claims"] == [{"claim": "two_way_r2", "value": 0.97, "sense": ">=", "bound": 0.95, "met": True}]
    assert report["results"] == {"by_seed": [0.96, None]}
    assert json.loads((tmp_path / "identifiability" / "result.json").read_text()) == report


def test_a_quick_run_says_so_and_claims_nothing(tmp_path, capsys):
    assert run_experiment("identifiability", studied, ["--quick", "--out", str(tmp_path)]) == 0
    assert "Quick form: claims nothing." in capsys.readouterr().out
    assert not (tmp_path / "identifiability" / "result.json").exists()


def test_a_missed_claim_ends_with_exit_code_1(tmp_path, capsys):
    def poor(quick: bool) -> Outcome:
        return Outcome(values={"two_way_r2": None}, results={}, seeds=[])

    assert run_experiment("identifiability", poor, ["--out", str(tmp_path)]) == 1
    assert "MISSED two_way_r2 = None (>= 0.95)" in capsys.readouterr().out


def test_a_missing_recording_is_one_sentence_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PROCMODEL_DATA", str(tmp_path))
    assert (
        run_experiment("surprise", lambda quick: folder_of("tennessee_eastman"), ["--out", str(tmp_path / "out")]) == 2
    )
    assert "No folder 'tennessee_eastman' in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_environment_names_versions_but_no_machine():
    environment = report_of("none", studied(False), seconds=1.0, quick=False)["environment"]
    assert environment["cores"] >= 1
    assert environment["numpy"]
    assert not {"hostname", "node", "user"} & set(environment)


@pytest.mark.parametrize("experiment", sorted(BOUNDS))
def test_every_bound_is_a_sense_and_a_number(experiment):
    assert all(sense in {"<=", "<", ">=", ">"} and math.isfinite(bound) for sense, bound in BOUNDS[experiment].values())


def test_arrays_and_scalars_become_plain():
    assert in_json({"a": (np.float64(1.5), math.inf), 2: [np.arange(2)]}) == {"a": [1.5, None], "2": [[0, 1]]}
