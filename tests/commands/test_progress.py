import procmodel.commands.progress as progress_module
from procmodel.commands.progress import Progress


def test_a_stage_whose_end_is_open_counts_instead_of_inventing_a_share(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "_EVERY", -1.0)  # a line at every step
    with Progress() as progress:
        progress.stage("ingest", "Reading")
        progress.step(38_178, 0)
        progress.step(50, 200)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["Reading ...", "Reading 38,178", "Reading 25 %"]
    assert list(progress.seconds) == ["ingest"]
