"""Figures: readable as SVG, every axis with its unit, gaps left open, legible without colour."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from procmodel.advice import Advice
from procmodel.advice.advice import Action, Move, Outlook
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.samples import SCHEMA
from procmodel.evaluation import figures
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import HoldControl, OperatorControl
from procmodel.evaluation.figures.record import envelope
from procmodel.evaluation.figures.style import PENS, runs
from procmodel.evaluation.free_run import FreeRun
from procmodel.evaluation.gains import compare_gains
from procmodel.evaluation.open_loop import OpenLoop
from procmodel.evaluation.raw import RawSamples, raw_samples
from procmodel.evaluation.step_response import StepResponse
from procmodel.evaluation.trial import ClosedLoop
from procmodel.plant import Plant
from procmodel.simulation import reference_plant

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GAP = slice(60, 90)


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def dataset(small_plant: Plant) -> Dataset:
    rng = np.random.default_rng(0)
    values = 40 + rng.standard_normal((200, 5)).cumsum(axis=0)
    values[GAP] = np.nan
    return Dataset(
        columns=tuple(small_plant.columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=NOW,
        step=10.0,
        stretches=(Stretch(name="record", start=0, stop=200),),
    )


@pytest.fixture(scope="module")
def closed_loop() -> ClosedLoop:
    tank = reference_plant("quadruple-tank")
    return run_trials(tank, [OperatorControl(), HoldControl()], seeds=[1, 2], rows=20, warmup=5)


def open_loop_result() -> OpenLoop:
    ahead, past = np.zeros((2, 40, 2)), np.ones((2, 10, 2))
    past[0, 4:6] = np.nan
    return OpenLoop(
        cvs=("LI1.PV", "TI1.PV"),
        units=("cm", "degC"),
        step=10.0,
        spread=np.array([1.0, 2.0]),
        rms={"model": np.ones((40, 2)), "persistence": 2 * np.ones((40, 2))},
        band=np.stack([ahead[0] - 1, ahead[0] + 1]),
        starts=np.array([5, 9]),
        before=past,
        measured=ahead,
        forecast=ahead + 0.1,
    )


def advice_for(plant: Plant, action: Action = Action.MOVE) -> Advice:
    steps = tuple(np.linspace(50, 55, 12).tolist())
    moves = tuple(
        Move(
            tag=n, unit="kg/h", current=40, recommended=42, delta=2, low=0, high=100, up=5, down=5, planned=(42.0,) * 12
        )
        for n in plant.mvs
    )
    outlooks = tuple(
        Outlook(
            tag=n,
            unit=plant.tags[n].unit,
            measured=50,
            end=55,
            least=50,
            most=55,
            unmoved_end=51,
            low=-np.inf,
            high=56,
            setpoint=53 if n == "LI1.PV" else float("nan"),
            status="inside",
            predicted=steps,
            unmoved=steps[::-1],
        )
        for n in plant.cvs
    )
    return Advice(
        action=action,
        reason="because",
        at=NOW,
        expires=NOW + timedelta(minutes=1),
        plant=plant.name,
        moves=moves,
        outlooks=outlooks,
    )


def step_responses(plant: Plant) -> tuple[StepResponse, StepResponse]:
    rise = 1 - 0.9 ** np.arange(1, 61)
    by_point = np.stack([scale * rise[:, None, None] * np.array([[1.0, 0.5], [0.3, -0.4]]) for scale in (0.9, 1.1)])
    model = StepResponse(plant=plant, step=10.0, curves=by_point.mean(axis=0), by_point=by_point, source="model")
    return model, StepResponse(plant=plant, step=10.0, curves=model.curves * 1.1, by_point=by_point, source="truth")


Drawing = Callable[[Plant, Dataset, ClosedLoop], str]


def draw_steps(plant: Plant, dataset: Dataset, loop: ClosedLoop) -> str:
    model, truth = step_responses(plant)
    return figures.step_response_matrix(compare_gains(model, np.ones(5), truth.gain), [truth])


def draw_conditioning(plant: Plant, dataset: Dataset, loop: ClosedLoop) -> str:
    times = dataset.times()
    samples = RawSamples(time=times, value=dataset.values[:, 2], good=np.isfinite(dataset.values[:, 2]))
    return figures.conditioning({"LI1.PV": samples}, dataset, plant, times[0], times[-1])


def draw_free_run(plant: Plant, dataset: Dataset, loop: ClosedLoop) -> str:
    times = np.arange(500.0)
    run = FreeRun(campaign="ex", cv="P", unit="W", times=times, recorded=times, predicted=times + 1, given=50)
    return figures.free_run_figure([run, run])


DRAWINGS: dict[str, tuple[Drawing, set[str]]] = {
    "history": (
        lambda plant, dataset, loop: figures.history_overview(dataset, plant),
        {"FC1.SP [kg/h]", "LI1.PV [cm]", "TI1.PV [degC]", "bad share of time [-]", "time [UTC]"},
    ),
    "conditioning": (draw_conditioning, {"LI1.PV [cm]", "time [UTC]"}),
    "open_loop": (
        lambda plant, dataset, loop: figures.open_loop_fan(open_loop_result()),
        {"LI1.PV [cm]", "TI1.PV [degC]", "time from the last row seen [min]"},
    ),
    "error_growth": (
        lambda plant, dataset, loop: figures.error_growth(open_loop_result()),
        {"error of LI1.PV [cm]", "error of TI1.PV [degC]", "time ahead [min]"},
    ),
    "steps": (
        draw_steps,
        {
            "LI1.PV [cm per kg/h]",
            "TI1.PV [degC per kg/h]",
            "time after a step of FC1.SP [min]",
            "declared + ✓ · truth ✓",
        },
    ),
    "free_run": (draw_free_run, {"ex: P [W]", "free run minus recorded [W]", "time [min]"}),
    "closed_loop": (
        lambda plant, dataset, loop: figures.closed_loop_trends(loop),
        {"LI101.PV [cm]", "tank4_margin [cm]", "P101.SP [V]", "cost so far, less the operator's [-]", "time [s]"},
    ),
    "cost": (
        lambda plant, dataset, loop: figures.cost_bars(loop),
        {"mean cost [-]", "rank-1 limits exceeded [% of time]", "rank-2 limits exceeded [% of time]"},
    ),
    "advice": (
        lambda plant, dataset, loop: figures.advice_figure(advice_for(plant), plant, dataset.values),
        {"LI1.PV [cm]", "FC1.SP [kg/h]", "time from now [s]", "now"},
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_axis_of_a_figure_has_a_name_and_a_unit(name: str, small_plant, dataset, closed_loop) -> None:
    draw, expected = DRAWINGS[name]
    assert expected <= set(texts(draw(small_plant, dataset, closed_loop)))


def test_the_same_figure_has_the_same_bytes_and_two_figures_share_no_ids(small_plant, dataset, closed_loop) -> None:
    first, again = (figures.cost_bars(closed_loop) for _ in range(2))
    other = figures.closed_loop_trends(closed_loop)
    assert first == again
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, other)]
    assert not ids[0] & ids[1]
    for svg, own in zip((first, other), ids, strict=True):
        used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
        assert used
        assert used <= own


def path_data(svg: str, stroke: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [
        node.attrib["d"]
        for node in root.iter("{http://www.w3.org/2000/svg}path")
        if f"stroke: {stroke}" in node.attrib.get("style", "") and "fill: none" in node.attrib.get("style", "")
    ]


def test_a_gap_in_the_record_is_a_break_in_the_line_and_hatched(small_plant, dataset, closed_loop) -> None:
    from procmodel.evaluation.figures.style import ACCENT

    svg = draw_conditioning(small_plant, dataset, closed_loop)
    grid = max(path_data(svg, ACCENT), key=len)
    assert grid.count("M") == 2  # one run before the gap, one after
    whole = Dataset(**{**vars(dataset), "values": np.nan_to_num(dataset.values, nan=40.0)})
    unbroken = draw_conditioning(small_plant, whole, closed_loop)
    assert max(path_data(unbroken, ACCENT), key=len).count("M") == 1
    assert svg.count("<pattern") == unbroken.count("<pattern") + 1


def test_a_bin_that_holds_nothing_stays_empty_and_others_keep_their_extremes() -> None:
    values = np.array([1.0, 5.0, np.nan, np.nan, 2.0, np.nan])
    good = np.array([1.0, 0.5, 0.0, 0.0, 1.0, 0.0])
    part = envelope(values, good, np.arange(7.0), 3)
    np.testing.assert_array_equal(part.low, [1.0, np.nan, 2.0])
    np.testing.assert_array_equal(part.high, [5.0, np.nan, 2.0])
    np.testing.assert_array_equal(part.mean, [3.0, np.nan, 2.0])
    np.testing.assert_allclose(part.bad, [0.25, 1.0, 0.5])
    np.testing.assert_array_equal(part.edges, [0, 2, 4, 6])


def test_stretches_that_lie_apart_are_not_joined(small_plant, dataset) -> None:
    apart = Dataset(
        **{
            **vars(dataset),
            "values": np.nan_to_num(dataset.values, nan=40.0),
            "stretches": (
                Stretch(name="a", start=0, stop=100, began=NOW),
                Stretch(name="b", start=100, stop=200, began=NOW + timedelta(days=9)),
            ),
        }
    )
    from procmodel.evaluation.figures.style import ACCENT

    together = Dataset(**{**vars(apart), "stretches": (Stretch(name="record", start=0, stop=200),)})
    lines = [len(path_data(figures.history_overview(d, small_plant), ACCENT)) for d in (together, apart)]
    assert lines == [2, 4]  # two CVs


def test_raw_samples_are_picked_by_tag_with_their_quality() -> None:
    rows = {
        "tag": pa.array(["A", "B", "A", "A"]).dictionary_encode(),
        "time": pa.array([NOW + timedelta(seconds=i) for i in range(4)], pa.timestamp("us", tz="UTC")),
        "value": pa.array([1.0, 9.0, None, 3.0]),
        "status": pa.array([0, 0, 0, 0], pa.int64()),
        "quality": pa.array([0, 0, 0, 2], pa.int8()),
        "state": pa.array([None] * 4, pa.string()),
    }
    batch = pa.RecordBatch.from_pydict(rows, schema=SCHEMA)
    found = raw_samples([batch, batch.slice(0, 1)], "A")
    np.testing.assert_array_equal(found.value, [1.0, np.nan, 3.0, 1.0])
    assert found.good.tolist() == [True, False, False, True]
    assert found.time[1] == np.datetime64("2026-01-05T12:00:02")
    assert len(raw_samples([batch], "C").value) == 0


def test_what_is_compared_differs_in_shade_dash_and_marker_so_that_grey_print_tells_it() -> None:
    def luminance(color: str) -> float:
        r, g, b = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for group in (("advice", "operator", "oracle", "hold"), ("model", "arx", "persistence", "truth")):
        pens = [PENS[name] for name in group]
        assert len({str(p.dash) for p in pens}) == len({p.marker for p in pens}) == len(pens)
        shades = sorted(luminance(p.color) for p in pens)
        assert min(b - a for a, b in pairwise(shades)) > 0.1


def test_a_hold_is_drawn_without_a_plan(small_plant, dataset) -> None:
    svg = figures.advice_figure(advice_for(small_plant, Action.HOLD), small_plant, dataset.values)
    assert any("stays" in text for text in texts(svg))
    assert not any("set 42" in text for text in texts(svg))


def test_a_wrong_sign_is_marked_by_a_cross_in_bold(small_plant) -> None:
    model, truth = step_responses(small_plant)
    svg = figures.step_response_matrix(compare_gains(model, np.ones(5), -truth.gain), [truth])
    crossed = [node for node in ElementTree.fromstring(svg).iter() if "truth ✗" in (node.text or "")]
    assert len(crossed) == 4
    assert all("font-weight: 700" in node.attrib["style"] for node in crossed)


def test_runs_of_flags_are_half_open() -> None:
    flags = np.array([True, True, False, False, True])
    assert list(runs(flags)) == [(0, 2), (4, 5)]
    assert list(runs(np.zeros(3, dtype=bool))) == []


def test_no_global_figure_is_left_behind(small_plant, dataset, closed_loop) -> None:
    import matplotlib
    from matplotlib import _pylab_helpers

    before: dict[str, Any] = dict(matplotlib.rcParams)
    figures.cost_bars(closed_loop)
    assert _pylab_helpers.Gcf.get_all_fig_managers() == []
    assert dict(matplotlib.rcParams) == before
