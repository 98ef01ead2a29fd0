"""The commands.

`--json` puts one JSON object on stdout and nothing else. Exit codes: 0 done, 1 the answer is no, 2 wrong input.
Whatever is slow to import is imported by the command that needs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from procmodel.commands import options, tell
from procmodel.commands.ending import run as run_command
from procmodel.commands.options import End, Json, Out, PlantFile, Start
from procmodel.errors import InputError
from procmodel.training.launch import launched, processes_to_start, start

if TYPE_CHECKING:
    from procmodel.plant import Plant

app = typer.Typer(
    help="World models and constrained advice for industrial process control. Advice only: it never writes to a plant.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

head_app = typer.Typer(help="Constraint heads: margins that no sensor measures.", no_args_is_help=True)
app.add_typer(head_app, name="head")


@app.command()
def demo(
    plant: Annotated[str, typer.Option(help="Its name; a wrong one lists all.")] = "evaporator",
    out: Out = None,
    as_json: Json = False,
    quick: Annotated[bool, typer.Option(help="A shorter record and fewer trials; claims nothing.")] = False,
) -> None:
    """Do the whole job on a reference plant: record, ingest, train, evaluate, advise, report."""
    from procmodel.commands.progress import Progress
    from procmodel.simulation import reference_plant

    reference_plant(plant)  # a wrong name is told before the slow imports
    folder = options.folder_of("--out", out or Path("runs") / f"demo-{plant}")
    from procmodel.commands.demo import demo as run

    with Progress() as progress:
        results, advised = run(plant, folder, progress, quick=quick)
    results["seconds"] = progress.seconds
    if as_json:
        tell.print_json(results)
        return
    tell.demo(results)
    tell.show(advised.advice, "Europe/Zurich")
    print(f"\nReport: {results['report']}")


@app.command()
def init(
    exports: Annotated[list[Path], typer.Argument(metavar="EXPORT...", help="Export files, or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", help="The plant file to write; never one that is there.")] = Path(
        "plant.yaml"
    ),
    name: Annotated[str | None, typer.Option(help="Of the plant. Default: after the export.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of stamps that carry none, as Europe/Zurich.")] = None,
    answer: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for what the export does not tell; it says which.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draft a plant file from an export: its shape, units, ranges, sampling and likely roles, with the reasons."""
    answers = options.pairs_of("--answer", answer or [], "history.options.quality=opc-da")
    from procmodel.commands import init as command

    given = {key: command.parsed(value) for key, value in answers.items()}
    if timezone is not None:
        given[command.ZONE] = timezone
    asks = options.ask if sys.stdin.isatty() and sys.stderr.isatty() and not as_json else None
    drafted = command.init(exports, out, given, name=name, ask=asks)
    if as_json:
        tell.print_json(drafted.to_dict())
        return
    print("\n".join(command.summary(drafted)))


@app.command()
def record(
    plant_file: PlantFile,
    into: Annotated[Path | None, typer.Option(help="Folder of the record. Default: runs/<plant name>/record.")] = None,
    as_json: Json = False,
    last: Annotated[str | None, typer.Option("--for", help="End after so long, as 8 h. Default: at Ctrl-C.")] = None,
    rotate: Annotated[str, typer.Option(help="Begin a new file after so long.")] = "1 h",
    every: Annotated[str, typer.Option(help="How long samples may wait until they are on the disk.")] = "10 s",
) -> None:
    """Keep what a live source (OPC UA, MQTT) tells as Parquet, until Ctrl-C; goes on where an earlier one ended."""
    plant = _plant(plant_file)
    seconds = options.seconds_of("--for", last) if last is not None else None
    lasting, waiting = options.seconds_of("--rotate", rotate), options.seconds_of("--every", every)
    from procmodel.commands import record as command
    from procmodel.commands.progress import Progress

    folder = options.folder_of("--into", into or command.folder_of(plant))
    with Progress() as progress:
        facts = command.record(plant, folder, progress, last=seconds, rotate=lasting, every=waiting)
    (tell.print_json if as_json else command.tell)(facts)


@app.command()
def ingest(
    plant_file: PlantFile,
    out: Out = None,
    as_json: Json = False,
    recorded: Annotated[
        Path | None, typer.Option(help="Read this folder of `procmodel record` in place of the plant's history.")
    ] = None,
    start: Start = None,
    end: End = None,
    update: Annotated[bool, typer.Option(help="Prolong the stored dataset, reading its end and what is new.")] = False,
    overlap: Annotated[str, typer.Option(help="With --update: how late a sample may come, such as 1 h.")] = "1 h",
) -> None:
    """Read the plant's history, put it on the grid, and store it with what the read met."""
    plant, span = _plant(plant_file), options.span_of(start, end)
    if recorded is not None:
        plant = options.read_from(plant, recorded)
    if update and span != (None, None):
        raise InputError("--update goes on from the stored dataset; leave out --start and --end.")
    late = options.seconds_of("--overlap", overlap)
    from procmodel.commands import model
    from procmodel.commands.progress import Progress

    place = model.place_of(plant, out)
    with Progress() as progress:
        read = model.renew(plant, place, progress, late) if update else model.ingest(plant, place, progress, *span)
        facts = {**model.ingest_facts(read, plant), "dataset": str(place.dataset)}
    (tell.print_json if as_json else tell.ingest)(facts)


@app.command()
def check(
    plant_file: PlantFile,
    out: Out = None,
    as_json: Json = False,
    start: Start = None,
    end: End = None,
) -> None:
    """Say whether the record is fit to learn from: gaps, faults of instruments, compression, excitation."""
    plant, span = _plant(plant_file), options.span_of(start, end)
    from procmodel.commands import model
    from procmodel.commands.check import check as run
    from procmodel.commands.progress import Progress

    with Progress() as progress:
        results = run(plant, model.place_of(plant, out).out / "check.html", progress, *span)
    (tell.print_json if as_json else tell.check)(results)


@app.command()
def train(plant_file: PlantFile, out: Out = None, as_json: Json = False) -> None:
    """Train the world model and its constraint heads; a run that was stopped goes on from its last whole epoch."""
    from procmodel.training.processes import together

    if not launched() and (count := processes_to_start(_plant(plant_file).training)):
        sys.exit(start(count, sys.argv[1:]))  # past `main`: the first of them has said all there is to say
    with together() as processes:
        plant = _plant(plant_file)
        from procmodel.commands import model
        from procmodel.commands.progress import Progress

        processes.refuse_others(plant.training)
        place = model.place_of(plant, out)
        with Progress(quiet=not processes.is_first) as progress:
            dataset = model.shared_dataset_of(plant, place, progress, processes)
            artifact = model.train_model(plant, dataset, place, progress, processes)
    if not processes.is_first:
        return
    facts = {**model.train_facts(artifact, plant), "model": str(place.model), "seconds": progress.seconds}
    if as_json:
        tell.print_json(facts)
        return
    tell.training(facts)


@app.command()
def evaluate(
    plant_file: PlantFile,
    out: Out = None,
    as_json: Json = False,
    compare: Annotated[str | None, typer.Option(metavar="RUN", help="Another evaluation to stand beside it.")] = None,
) -> None:
    """Judge the model on rows it has not seen, and write the report; trains first where there is no model yet."""
    plant = _plant(plant_file)
    from procmodel.commands import model
    from procmodel.commands.evaluate import evaluate as run
    from procmodel.commands.progress import Progress

    with Progress() as progress:
        results = run(plant, model.place_of(plant, out), progress, compare)
    results["seconds"] = progress.seconds
    (tell.print_json if as_json else tell.evaluation)(results)
    if not results["gains"]["gate"]["passed"]:
        raise typer.Exit(1)


@app.command()
def runs(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run, by the beginning of its id.")] = None,
    out: Out = None,
    as_json: Json = False,
    open_report: Annotated[bool, typer.Option("--open", help="Open the run's report in the browser.")] = False,
) -> None:
    """List what was trained and evaluated, with the champion; or show one run."""
    from procmodel.commands import runs as command

    command.runs(run, out and options.folder_of("--out", out), as_json=as_json, open_report=open_report)


@app.command()
def advise(
    plant_file: PlantFile,
    out: Out = None,
    as_json: Json = False,
    at: Annotated[
        str | None, typer.Option(help="The clock: an ISO time with its zone, or 'latest' for the newest sample.")
    ] = None,
    setpoint: Annotated[list[str] | None, typer.Option(help="TAG=VALUE, in place of the plant file's.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="'TAG low=VALUE' or 'TAG high=VALUE', for this advice.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="TAG=STATUS: on, drop, feed-forward, low, high or critical.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Also say what it costs and why, what limits cost, what moves do, what is to come."
        ),
    ] = False,
) -> None:
    """Say which setpoints to move now, by how much and what will happen; or hold, with the reason (exit code 1)."""
    plant = _plant(plant_file)
    clock, targets = options.moment_of("--at", None if at == "latest" else at), options.setpoints_of(setpoint or [])
    limits, statuses = options.limits_of(limit or []), options.statuses_of(status or [])
    from procmodel.commands import model
    from procmodel.commands.advise import advise as run
    from procmodel.training.artifact import load_artifact

    place = model.place_of(plant, out)
    artifact = load_artifact(place.model, plant)
    advised = run(
        plant, artifact, at=clock, newest=at == "latest", setpoints=targets, limits=limits, statuses=statuses,
        explain=explain, slow=model.slow_model_of(plant, place, artifact),
    )  # fmt: skip
    if as_json:
        tell.print_json(advised.advice.to_dict())
    else:
        tell.show(advised.advice, plant.history.timezone if plant.history else None)
    if not advised.advice.is_move:
        raise typer.Exit(1)


@head_app.command("fit")
def head_fit(
    plant_file: PlantFile,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The constraint, as the plant file names it.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Learn one constraint head anew from its labels; the model stays as it is."""
    plant = _plant(plant_file)
    from procmodel.commands import head, model
    from procmodel.commands.progress import Progress

    place = model.place_of(plant, out)
    with Progress() as progress:
        facts = {**head.head_facts(head.fit(plant, place, name, progress)), "model": str(place.model)}
    if as_json:
        tell.print_json(facts)
        return
    tell.head(name, facts)


@app.command()
def schema() -> None:
    """Print the JSON schema of the plant file, for editors."""
    from procmodel.plant import plant_schema

    print(json.dumps(plant_schema(), indent=2))


def main() -> None:
    """Entry point."""
    run_command(app)


def _plant(path: Path) -> Plant:
    from procmodel.plant import load_plant

    return load_plant(path)
