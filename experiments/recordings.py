"""Public recordings: where they lie, and their rows. None is part of this repository; experiments/README.md says where
to get each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from procmodel.errors import DatasetError


def folder_of(name: str) -> Path:
    """Folder of one recording, below the one that PROCMODEL_DATA names.

    Raises:
        DatasetError: It is not there.
    """
    root = Path(os.environ.get("PROCMODEL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not (root / name).is_dir():
        raise DatasetError(
            f"No folder {name!r} in {root}. Get the recording as experiments/README.md says, and name the folder that "
            "holds it in PROCMODEL_DATA."
        )
    return root / name


def tennessee_eastman() -> tuple[np.ndarray, list[np.ndarray]]:
    """500 normal rows [500, 52], and 22 records [960, 52]: a normal one, then faults 1 to 21, each from row 160 on."""
    folder = folder_of("tennessee_eastman")
    normal = np.loadtxt(folder / "d00.dat").T  # this file alone lies on its side
    return normal, [np.loadtxt(folder / f"d{fault:02d}_te.dat") for fault in range(22)]


def cascaded_tanks() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Pump voltage and level [V], both [1024], of the half that estimates and of the half that tests."""
    table = np.genfromtxt(
        folder_of("cascaded_tanks") / "cascaded_tanks_dataBenchmark.csv", delimiter=",", skip_header=1, usecols=range(4)
    )
    return (table[:, 0], table[:, 2]), (table[:, 1], table[:, 3])
