"""The package's names load on first use, and no more than they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import procmodel.data

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_that_is_promised_is_there() -> None:
    for name in procmodel.data.__all__:
        assert getattr(procmodel.data, name) is not None


def test_no_name_is_that_of_a_module_which_would_hide_it() -> None:
    modules = {path.stem for path in Path(procmodel.data.__file__).parent.glob("*.py")}
    assert not modules & set(procmodel.data.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = procmodel.data.Nonsense


def test_a_dataset_is_loaded_without_torch_numba_or_polars() -> None:
    program = (
        "import sys; from procmodel.data import Dataset, Parts, load_dataset; "
        "print(*[n for n in ('torch', 'numba', 'polars', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == []
