"""The floors of the house: which package may import which, and where each library of the outside world lives.

Imports are read from the source, so lazy ones, type-only ones and those by `importlib.import_module("...")` count too.
To use a library in a new place, add it to that row here, and say in the commit why it belongs there.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Package or module of procmodel: (what it may import of ours besides errors, its outside world).
FLOORS: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "plant": (set(), {"pydantic", "pint", "ruamel"}),
    "data": ({"plant"}, {"numpy", "pyarrow", "polars", "numba"}),
    "metrics": ({"plant"}, {"numpy"}),
    "world_model": ({"plant", "data"}, {"numpy", "scipy", "torch"}),
    "constraints": ({"plant", "data"}, {"numpy", "torch", "pyarrow"}),
    "simulation": ({"plant", "data"}, {"numpy", "scipy", "pyarrow"}),
    "control": ({"plant", "data", "world_model", "constraints"}, {"numpy", "torch", "casadi", "piqp", "threadpoolctl"}),
    "training": (
        {"plant", "data", "metrics", "world_model", "constraints"},
        {"numpy", "torch", "pytorch_lightning", "safetensors"},
    ),
    "advice": ({"plant", "data"}, {"numpy", "rich"}),
    "runtime": ({"plant", "data", "advice", "world_model", "constraints", "control"}, {"numpy", "torch"}),
    "advisor": (
        {"plant", "advice", "world_model", "control", "runtime", "training"},
        {"numpy"},
    ),
    "evaluation": (
        {
            "plant",
            "data",
            "metrics",
            "world_model",
            "constraints",
            "simulation",
            "control",
            "advice",
            "runtime",
        },
        {"numpy", "scipy", "torch", "casadi", "matplotlib"},
    ),
    "tracking": ({"plant", "metrics"}, {"mlflow"}),
    "console": ({"runtime", "advice", "plant", "data"}, {"fastapi", "starlette", "uvicorn", "jinja2"}),
}
CONNECTORS_MAY_IMPORT = {"plant", "data", "advice"}

# Slow to import, or replaced one day: each has these homes and no other (a package, or one file of it).
HOMES: dict[str, set[str]] = {
    "torch": {
        "data/window.py",
        "data/windows.py",
        "world_model",
        "constraints",
        "control",
        "training",
        "runtime",
        "evaluation",
    },
    "pytorch_lightning": {"training"},
    "lightning": set(),  # the sister package; one name for one thing
    "mlflow": {"tracking"},
    "casadi": {"control", "evaluation"},
    "matplotlib": {"evaluation"},
    "pint": {"plant"},
    "pydantic": {"plant", "connectors"},  # a connector checks its own options
    "safetensors": {"training"},
    "numba": {"data"},
    "piqp": {"control"},
    "threadpoolctl": {"control"},
}
# The commands, and what the command line shares with no other package.
ALL_OF_OURS = {"__main__", "cli", "commands"}
CLI_OUTSIDE = {"typer", "rich", "click", "numpy", "pyarrow"}

SLOW = (
    "torch",
    "pytorch_lightning",
    "lightning",
    "mlflow",
    "casadi",
    "matplotlib",
    "pint",
    "numba",
    "polars",
    "pandas",
)


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever it stands; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def files_of(folder: str) -> list[str]:
    """Python files below a folder, relative to the repository."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


def floor_of(file: str) -> str:
    """Package or module of procmodel that a file belongs to; "" for `procmodel/__init__.py` itself."""
    part = Path(file).parts[1]
    return part.removesuffix(".py") if part != "__init__.py" else ""


def ours(name: str) -> str | None:
    """Which package of procmodel a dotted name belongs to; None for the outside world."""
    parts = name.split(".")
    if parts[0] != "procmodel":
        return None
    # `from procmodel import __version__` asks for nothing of any package.
    return "" if len(parts) == 1 or parts[1].startswith("__") else parts[1]


def breaches(file: str, source: str) -> list[str]:
    """Every import in a file of ours that its row of the table does not allow."""
    top = Path(file).parts[0]
    floor = floor_of(file) if top == "procmodel" else ""
    free = top == "procmodel" and floor in ALL_OF_OURS
    if top == "connectors":
        may = CONNECTORS_MAY_IMPORT
    elif free:
        may = {*FLOORS, *ALL_OF_OURS}
    else:
        may = FLOORS.get(floor, (set(), set()))[0] | {floor}
    found = []
    for line, name in imports_of(source):
        root = name.split(".")[0]
        place = f"{file}:{line} imports {name}"
        if name.startswith("."):
            found.append(f"{place}: write it in full, so that the floors can be read")
        elif root in sys.stdlib_module_names:
            continue
        elif root == "procmodel":
            target = ours(name)
            if target not in may and target not in ("", "errors"):
                found.append(f"{place}: {floor or top} may import {', '.join(sorted(may - {floor})) or 'nothing'}")
        elif root in ("experiments", "tests", "examples"):
            found.append(f"{place}: nothing imports {root}")
        elif root == "connectors":
            if top != "connectors":
                found.append(f"{place}: connectors are found by entry point, never by import")
        elif root in HOMES and not lives_in(root, file):
            found.append(f"{place}: {root} lives in {', '.join(sorted(HOMES[root])) or 'no package'}")
        elif top == "procmodel" and root not in outside(file, floor):
            found.append(f"{place}: {root} is not in the outside world of {floor}")
    return found


def outside(file: str, floor: str) -> set[str]:
    """Libraries that a file of procmodel may import."""
    world = CLI_OUTSIDE if floor in ALL_OF_OURS else FLOORS.get(floor, (set(), set()))[1]
    return world | {library for library in HOMES if lives_in(library, file)}


def lives_in(library: str, file: str) -> bool:
    inside = str(Path(file).relative_to("procmodel")) if file.startswith("procmodel/") else file
    return any(inside == home or inside.startswith(f"{home}/") for home in HOMES[library])


@pytest.mark.parametrize("file", files_of("procmodel") + files_of("connectors"))
def test_a_file_imports_only_what_its_floor_allows(file: str) -> None:
    found = breaches(file, (ROOT / file).read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def test_every_package_has_its_row_in_the_table() -> None:
    on_disk = {floor_of(file) for file in files_of("procmodel")} - {""}
    assert on_disk <= FLOORS.keys() | ALL_OF_OURS, "a new folder is earned: add its row, with the reason"


def test_no_floor_imports_one_that_stands_above_it() -> None:
    order = list(FLOORS)
    for floor, (may, _) in FLOORS.items():
        assert may <= set(FLOORS), f"{floor} names a package that has no row"
    # Take away, again and again, a floor that needs none of those left: what remains would be a circle.
    left = set(order)
    while ready := {floor for floor in left if not FLOORS[floor][0] & left}:
        left -= ready
    assert not left, f"circle among {sorted(left)}"


@pytest.mark.parametrize(
    ("file", "source", "allowed"),
    [
        ("procmodel/advice/guard.py", "from procmodel.plant import Plant", True),
        ("procmodel/advice/guard.py", "import numpy as np", True),
        ("procmodel/advice/guard.py", "from procmodel.errors import InputError", True),
        ("procmodel/advice/guard.py", "from procmodel.control.plan import Plan", False),
        ("procmodel/advice/guard.py", "def f():\n    import procmodel.control.plan", False),
        (
            "procmodel/advice/guard.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from procmodel.control import plan",
            False,
        ),
        ("procmodel/advice/guard.py", "from ..control import plan", False),
        ("procmodel/advice/guard.py", "import torch", False),
        ("procmodel/data/window.py", "import torch", True),
        ("procmodel/data/grid.py", "import torch", False),
        ("procmodel/evaluation/report.py", "from procmodel.training import artifact", False),
        ("procmodel/evaluation/report.py", "from procmodel import training", False),
        ("procmodel/training/module.py", "import mlflow", False),
        ("procmodel/training/module.py", "import importlib\nimportlib.import_module('mlflow')", False),
        ("procmodel/cli.py", "from procmodel.training import artifact", True),
        ("procmodel/cli.py", "from connectors.csv_files import CsvHistorian", False),
        ("procmodel/cli.py", "def f():\n    import mlflow", False),
        ("connectors/csv_files.py", "from procmodel.data.samples import SCHEMA", True),
        ("connectors/csv_files.py", "import duckdb", True),
        ("connectors/csv_files.py", "from procmodel.world_model import protocol", False),
        ("connectors/csv_files.py", "from experiments import speed", False),
    ],
)
def test_the_reader_of_imports_tells_allowed_from_forbidden(file: str, source: str, allowed: bool) -> None:
    assert (not breaches(file, source)) is allowed


@pytest.mark.parametrize("module", ["procmodel.cli", "procmodel.plant", "procmodel.tracking", "procmodel.advice.guard"])
def test_importing_it_loads_no_slow_library(module: str) -> None:
    if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists() and module == "procmodel.cli":
        pytest.skip("the command line is not built yet")
    program = f"import sys, {module}; print(*[n for n in {SLOW!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
