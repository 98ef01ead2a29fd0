"""RESULTS.md from the stored results: `python -m experiments.results [--run NAME ...]`.

Each study keeps its last whole run as `experiments/results/NAME.json` (the object that its command prints) and what has
to be said of it as `experiments/results/NAME.md`. The page is made of these alone: no figure in it is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STORE, PAGE = HERE / "results", HERE / "RESULTS.md"

COMMANDS: Mapping[str, str] = {
    "demo_evaporator": "procmodel demo --json",
    "demo_quadruple_tank": "procmodel demo --plant quadruple-tank --json",
    "evaluate_micro_gas_turbine": "procmodel evaluate examples/micro_gas_turbine/plant.yaml --json",
}
"""Studies that are commands of the product; any other name is `python -m experiments.NAME --json`."""

INTRO = """# Results

Made by `python -m experiments.results` from the stored runs in `experiments/results/`; `--run NAME` runs one again.
Speed was measured on two shared cores, so only its ratios within one run mean much. What failed: [LOG.md](LOG.md).
"""


def command_of(name: str) -> str:
    """The command that prints a study's object."""
    return COMMANDS.get(name, f"python -m experiments.{name} --json")


def run(name: str) -> None:
    """Runs a study and stores what it prints.

    Raises:
        SystemExit: The study ended with an error, or printed no object; what was stored before stays.
    """
    words = command_of(name).split()
    program = str(Path(sys.executable).with_name("procmodel")) if words[0] == "procmodel" else sys.executable
    done = subprocess.run([program, *words[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: a claim is missed, which is a result
        raise SystemExit(f"{command_of(name)} ended with exit code {done.returncode}; nothing was stored.")
    store(name, json.loads(done.stdout))


def stored(name: str) -> Mapping[str, Any]:
    """The results of the run that is kept of a study; empty where there is none."""
    path = STORE / f"{name}.json"
    found: Mapping[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    return found


def store(name: str, report: Mapping[str, Any]) -> None:
    """Keeps one run; the long tables of a product command are left out, its claims and times stay."""
    STORE.mkdir(exist_ok=True)
    kept = {key: report[key] for key in ("claims", "seeds", "seconds", "environment") if key in report}
    whole = report if name not in COMMANDS else {"experiment": name, **kept, "results": _digest(report)}
    (STORE / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")


def _digest(report: Mapping[str, Any]) -> dict[str, Any]:
    """Of a product command: costs by seed and gains by pair, or whatever small parts there are."""
    loops = report.get("closed_loop") or {}
    digest: dict[str, Any] = {
        "cost_by_seed": {name: each["cost_by_seed"] for name, each in loops.items() if "cost_by_seed" in each}
    }
    if "trial" in loops:
        digest["trial"] = loops["trial"]
    digest |= {key: report[key] for key in ("gains", "free_run") if key in report}
    return {key: value for key, value in digest.items() if value}


def page(store: Path = STORE) -> str:
    """The whole of RESULTS.md."""
    found = {path.stem: json.loads(path.read_text()) for path in store.glob("*.json")}
    order = [*(name for name in COMMANDS if name in found), *sorted(set(found) - set(COMMANDS))]
    met, claims = _count(found.values())
    lines = [INTRO, f"{met} of {claims} claims are met.\n"]
    for name in order:
        note = store / f"{name}.md"
        lines += [*_section(name, found[name]), *([note.read_text().strip(), ""] if note.exists() else [])]
    return "\n".join(lines)


def _count(reports: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    claims = [claim for report in reports for claim in report.get("claims", [])]
    return sum(bool(claim["met"]) for claim in claims), len(claims)


def _section(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `{command_of(name)}`\n"
    if report.get("claims"):
        yield "| claim | value | bound | met |\n|---|---|---|---|"
        for claim in report["claims"]:
            met, bound = "yes" if claim["met"] else "**no**", f"{claim['sense']} {_number(claim['bound'])}"
            yield f"| {claim['claim']} | {_number(claim['value'])} | {bound} | {met} |"
        yield ""
    yield _circumstances(report) + "\n"


def _circumstances(report: Mapping[str, Any]) -> str:
    seconds = report.get("seconds")
    total = sum(seconds.values()) if isinstance(seconds, Mapping) else seconds
    seeds, environment = report.get("seeds"), report.get("environment") or {}
    named = seeds if isinstance(seeds, Mapping) else {"seeds": seeds or []}
    drawn = ", ".join(
        f"{what} {_span(each if isinstance(each, list) else [each])}" for what, each in named.items() if each != []
    )
    parts = [f"{total:.0f} s" if total is not None else "", drawn]
    if "cores" in environment:
        parts.append(f"{environment['cores']} cores, threads {environment.get('threads', 'default')}")
    return ("Run: " + "; ".join(part for part in parts if part) + ".") if any(parts) else "Run: not timed."


def _span(seeds: Sequence[int]) -> str:
    """`0 to 49` where they follow each other."""
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named studies again, then writes the page."""
    parser = argparse.ArgumentParser(prog="python -m experiments.results", description="RESULTS.md from stored runs")
    parser.add_argument("--run", nargs="+", default=[], metavar="NAME", help="studies to run again first")
    parser.add_argument("--keep", nargs=2, metavar=("NAME", "FILE"), help="store the object of a run in a file")
    arguments = parser.parse_args(argv)
    if arguments.keep:
        store(arguments.keep[0], json.loads(Path(arguments.keep[1]).read_text()))
    for name in arguments.run:
        run(name)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
