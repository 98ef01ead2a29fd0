import json

from experiments import results

RUN = {
    "claims": [
        {"claim": "two_way_r2", "value": 0.9712, "sense": ">=", "bound": 0.95, "met": True},
        {"claim": "rmse", "value": None, "sense": "<=", "bound": 1.0, "met": False},
    ],
    "seconds": 12.3,
    "seeds": [0, 1, 2, 3],
    "environment": {"cores": 2, "threads": "1"},
}


def test_the_page_holds_every_stored_claim_with_its_command_and_note(tmp_path):
    (tmp_path / "identifiability.json").write_text(json.dumps(RUN))
    (tmp_path / "identifiability.md").write_text("Without SIGReg less.\n")
    page = results.page(tmp_path)
    assert "1 of 2 claims are met." in page
    assert "## `python -m experiments.identifiability --json`" in page
    assert "| two_way_r2 | 0.9712 | >= 0.95 | yes |" in page
    assert "| rmse | none | <= 1 | **no** |" in page
    assert "Run: 12 s; seeds 0 to 3; 2 cores, threads 1." in page
    assert "Without SIGReg less." in page


def test_the_demo_keeps_its_claims_and_its_costs_by_seed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "STORE", tmp_path)
    loops = {"advice": {"cost_by_seed": [1.0, 2.0], "limits": {}}, "trial": {"rows": 9}}
    printed = {"claims": RUN["claims"], "seconds": {"train": 3.0}, "closed_loop": loops, "open_loop": {"long": "table"}}
    results.store("demo_evaporator", printed)
    kept = json.loads((tmp_path / "demo_evaporator.json").read_text())
    assert kept["claims"] == RUN["claims"]
    assert kept["results"] == {"cost_by_seed": {"advice": [1.0, 2.0]}, "trial": {"rows": 9}}
    assert "## `procmodel demo --json`" in results.page(tmp_path)


def test_the_committed_page_is_that_of_the_stored_runs():
    assert results.PAGE.read_text() == results.page(), "Run python -m experiments.results"
