"""Each row of docs/apc.md names a test, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`([^`]+\.py)::([^`]+)`")


def table() -> dict[str, str]:
    """What is expected, and the cell that names its tests."""
    lines = (ROOT / "docs" / "apc.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    assert rows[0] == ["expected", "plant file or option", "library", "test"]
    return {row[0]: row[3] for row in rows[1:]}


@cache
def functions(file: Path) -> frozenset[str]:
    """Tests of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_the_table_is_read_whole() -> None:
    assert {"MV hard limits", "dead time", "price of each active limit"} <= set(table())


@pytest.mark.parametrize("expected", table())
def test_a_row_names_its_tests_and_they_are_there(expected: str) -> None:
    cell = table()[expected]
    named = NAMED.findall(cell)
    assert named
    assert NAMED.sub("", cell).strip(" ,") == ""  # nothing else, such as a file without a test
    for file, name in named:
        path = ROOT / file if "/" in file else ROOT / "tests" / "control" / file
        assert path.is_file(), file
        assert name in functions(path), f"{file}::{name}"
