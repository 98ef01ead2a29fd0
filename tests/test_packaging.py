"""What a clean clone installs: exact versions of everything, from no address of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
]
WANTED = [each for each in WANTED if Requirement(each).name != "procmodel"]  # an extra that brings others


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    read = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in read}


@pytest.mark.parametrize("wanted", WANTED)
def test_a_dependency_has_an_exact_version_that_satisfies_it(wanted: str) -> None:
    requirement = Requirement(wanted)
    (pin,) = pins()[canonicalize_name(requirement.name)].specifier
    assert pin.operator == "=="
    assert requirement.specifier.contains(pin.version)


def test_constraints_hold_plain_versions_and_nothing_of_one_machine() -> None:
    for pin in pins().values():
        assert pin.url is None
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.]*", str(pin.specifier)), pin  # no +cpu, which no public index serves


def test_no_index_is_named_so_that_pip_asks_the_one_of_its_machine() -> None:
    for name in ("Makefile", "constraints.txt", "pyproject.toml", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"index-url|find-links|https?://", text), name
