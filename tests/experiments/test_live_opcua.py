"""The counting of `experiments.live_opcua`, on a few tags for a few seconds."""

from __future__ import annotations

import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")

from experiments import live_opcua


def test_every_value_comes_once_though_the_server_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_opcua, "QUICK", live_opcua.Size(tags=5, seconds=3))
    outcome = live_opcua.live_opcua(True)
    assert outcome.values == {"lost": 0.0, "doubled": 0.0}
    assert (outcome.results["distinct"], outcome.results["disordered"]) == (15, 0)
