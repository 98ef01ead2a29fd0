"""The plant as its slow layer sees it: the same tags on a coarser grid, and what the fast model makes of the rest."""

from __future__ import annotations

from procmodel.errors import PlantFileError
from procmodel.plant.plant import Plant
from procmodel.plant.sections import Slow
from procmodel.plant.tag import MaxMove, Role, Tag

HORIZON_ROWS, WINDOW_ROWS = 24, 12
"""Slow rows that the layer looks ahead and back where the plant file does not say."""


def slow_of(plant: Plant) -> Slow:
    """What the plant file says of the slow layer.

    Raises:
        PlantFileError: It says nothing.
    """
    if plant.slow is None:
        raise PlantFileError(f"Plant {plant.name!r} has no slow layer. Give it `slow: {{row: ...}}` in the plant file.")
    return plant.slow


def fast_rows(plant: Plant) -> int:
    """Fast rows in a slow one."""
    return round(slow_of(plant).row / plant.sample_time)


def latent_tags(plant: Plant) -> list[str]:
    """Names of the columns that hold the fast latent's leading components."""
    return [f"latent.{i + 1}" for i in range(slow_of(plant).latents)]


def slow_plant(plant: Plant) -> Plant:
    """The slow layer's plant: one row is a slow row, every tag its mean over it, the fast latent's components are AUX.

    Limits, prices, setpoints, declared signs, the objective and what is calculated are the plant file's. A slow row's
    mean may move by as much as all its fast moves together. Margins of constraint heads stay with the fast layer, whose
    latent they read.

    Raises:
        PlantFileError: The plant file has no slow layer.
    """
    slow, rows = slow_of(plant), fast_rows(plant)
    tags = {name: _slow_tag(tag, rows) for name, tag in plant.tags.items()}
    tags |= {name: Tag(name=name, role=Role.AUX, unit="1", step=False) for name in latent_tags(plant)}
    advice = {
        "every": slow.row,
        "horizon": slow.horizon or HORIZON_ROWS * slow.row,
        "blocks": slow.blocks,
        "target_layer": False,
    }
    training = {"window": slow.window or WINDOW_ROWS * slow.row, "rollout": "auto"}
    return plant.model_copy(
        update={
            "name": f"{plant.name}-slow",
            "sample_time": slow.row,
            "history": None,
            "tags": tags,
            "constraints": {},
            "advice": plant.advice.model_copy(update=advice),
            "training": plant.training.model_copy(update=training),
            "slow": None,
        }
    )


def _slow_tag(tag: Tag, rows: int) -> Tag:
    if tag.max_move is None:
        return tag
    return tag.model_copy(update={"max_move": MaxMove(up=rows * tag.max_move.up, down=rows * tag.max_move.down)})
