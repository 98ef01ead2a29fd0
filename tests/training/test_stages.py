"""What learns when, where not all learns at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_plants import tiny_plant, tiny_record

from procmodel.training.callbacks import Told
from procmodel.training.prepare import prepare
from procmodel.training.settings import Settings, settings
from procmodel.training.stages import ALL, stage_of, stages
from procmodel.training.train import fit_member


def of(**wish: Any) -> Settings:
    return settings(tiny_plant(**wish), [])


def test_all_learns_at_once_unless_something_else_is_asked_for() -> None:
    (only,) = stages(of())
    assert only.parts == ALL
    assert not only.masked


def test_stages_share_the_epochs_in_order() -> None:
    both = of(encoder="masked", read_out="frozen", epochs=7)
    assert [stage_of(both, epoch).parts for epoch in (0, 2, 3, 4, 5, 6)] == [
        ("encoder",), ("encoder",), ("predictor", "decay"), ("predictor", "decay"), ("head",), ("head",),
    ]  # fmt: skip
    assert stage_of(both, 0).masked
    assert stage_of(both, 3).weights.read_out == 0
    assert stage_of(both, 6).weights == both.weights
    assert stage_of(both, 7) == stage_of(both, 6)  # Lightning counts one further when it is done


class Watching(Told):
    """Keeps the weights before the first epoch and after each."""

    def __init__(self) -> None:
        super().__init__(None, None, 0, 1, 0)
        self.kept: list[dict[str, Tensor]] = []

    def keep(self, fit: Any) -> None:
        self.kept.append({name: weight.detach().clone() for name, weight in fit.model.named_parameters()})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.keep(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.keep(pl_module)

    def moved(self, epoch: int) -> set[str]:
        """Parts that learned in an epoch."""
        before, after = self.kept[epoch], self.kept[epoch + 1]
        return {name.split(".")[0] for name, weight in before.items() if not torch.equal(weight, after[name])}


@pytest.mark.parametrize(
    ("wish", "learns"),
    [
        ({"encoder": "masked"}, [{"encoder"}, {"predictor", "decay", "head"}]),
        ({"read_out": "frozen"}, [{"encoder", "predictor", "decay"}, {"head"}]),
        ({"target": "ema", "inverse": 0.1, "straight": 0.1}, [set(ALL), set(ALL)]),
    ],
    ids=["masked", "frozen", "all at once"],
)
def test_each_stage_moves_its_own_parts_and_no_other(
    wish: dict[str, Any], learns: list[set[str]], tmp_path: Path
) -> None:
    dataset, plant, told = tiny_record(), tiny_plant(epochs=2, **wish), Watching()
    prepared = prepare(dataset, plant)
    fit_member(dataset, plant, prepared, prepared.settings, tmp_path, told)
    assert [told.moved(epoch) for epoch in (0, 1)] == learns
