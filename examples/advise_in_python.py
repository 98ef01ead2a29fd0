"""From an export to guarded advice in Python, without the commands: what `ingest`, `train` and `advise` do.

    python examples/advise_in_python.py [PLANT_FILE]

Without a plant file, the evaporator is simulated for a few days and its historian's export is read.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from procmodel.advisor import advisor_of
from procmodel.data import condition
from procmodel.data.historians import open_historian
from procmodel.plant import Training, load_plant
from procmodel.simulation import record, reference_plant
from procmodel.training.artifact import save_artifact
from procmodel.training.train import train


def main(plant_file: Path, out: Path) -> None:
    plant = load_plant(plant_file)
    plant = plant.model_copy(
        update={"training": Training(epochs=2, batches=25)}
    )  # seconds, to look at; no more than that
    dataset = condition(plant, open_historian(plant))
    print(f"{dataset.rows} rows of {dataset.step:g} s, {len(dataset.columns)} tags")

    artifact = train(dataset, plant, out / "scratch")
    save_artifact(artifact, out / "model")

    advisor = advisor_of(plant, artifact)
    end = dataset.start + timedelta(seconds=dataset.step * dataset.rows)
    advice, _ = advisor.advise(dataset.values[-advisor.rows_wanted :], newest=end, now=end)
    print(advice.action, "-", advice.reason)
    for move in advice.moves:
        print(f"{move.tag}: {move.current:.3f} -> {move.recommended:.3f} {move.unit} {move.clamp}")


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        if len(sys.argv) > 1:
            main(Path(sys.argv[1]), Path(scratch))
        else:
            made = record(reference_plant("evaporator"), rows=6000, seed=1, folder=Path(scratch) / "export")
            main(made.plant_file, Path(scratch))
