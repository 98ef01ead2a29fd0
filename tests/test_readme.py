"""README and docs say what is true: their plant file validates, their Python runs, their commands and links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from procmodel.plant import Plant, load_plant
from procmodel.plant import plant as plant_module
from procmodel.plant import sections as sections_module
from procmodel.plant import tag as tag_module

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("experiments/*.md")),
]


def blocks(language: str) -> list[str]:
    """Fenced blocks of README."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_plant_file_in_readme_validates_and_is_short(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    file = tmp_path / "plant.yaml"
    file.write_text(text, encoding="utf-8")
    plant = load_plant(file)
    assert (len(plant.mvs), len(plant.cvs), len(plant.dvs)) == (2, 2, 1)
    assert plant.gains[("FIC15.SP", "AI12.PV")].dead_time == 120.0
    assert len(text.splitlines()) <= 20


@pytest.mark.slow
def test_the_python_in_readme_runs_from_an_export_to_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from procmodel.simulation import record, reference_plant

    made = record(reference_plant("evaporator"), rows=6000, seed=2, folder=tmp_path)
    text = made.plant_file.read_text(encoding="utf-8")
    made.plant_file.write_text(text + "\ntraining: {epochs: 1, batches: 30}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 20
    exec(compile(code, "README.md", "exec"), {})
    assert re.match(r"(move|hold) \S+", capsys.readouterr().out)


def test_every_command_that_readme_names_exists_and_none_is_left_out() -> None:
    import typer

    from procmodel import cli

    app = next(each for each in vars(cli).values() if isinstance(each, typer.Typer))
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"\bprocmodel ([a-z]+)\b", " ".join(re.findall(r"`[^`\n]+`", README) + blocks("sh"))))
    assert named == known


def test_every_make_target_that_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "help"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    for name in re.findall(r"`((?:procmodel|tests|connectors|experiments|examples|docs)/[\w./-]+)`", text):
        missing += [] if (ROOT / name).exists() else [name]
    assert not missing


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.stem)
def test_a_page_of_the_docs_is_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 140


def test_the_plant_file_page_names_every_field() -> None:
    text = (ROOT / "docs" / "plant-file.md").read_text(encoding="utf-8")
    found = {**vars(tag_module), **vars(sections_module), **vars(plant_module)}.values()
    models = [each for each in found if isinstance(each, type) and issubclass(each, tag_module.Frozen)]
    fields = {name for model in models for name in model.model_fields} - {"at", "up", "down", "low", "high"}
    assert Plant in models
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", text))))
    assert fields <= named
