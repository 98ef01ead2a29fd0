"""When a peer is at the same optimum, what its time is, and what a claim may rest on."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.latency_verdicts import Run, judged, speed_over


def run(**facts: Any) -> Run:
    usual = {"seconds": 10.0, "excess": 1e-5, "success": True, "ran_out_of_time": False}
    return Run(**{"trace": (), "iterations": 9, "build_seconds": 1.0, **usual, **facts})


@pytest.mark.parametrize(
    ("excess", "success", "late", "same"),
    [
        (0.0005, True, False, True),
        (0.0015, True, False, False),  # another optimum
        (-0.0015, True, False, False),  # ours is not the optimum: no claim can rest on it
        (0.0005, False, True, True),  # the plan is what counts, not the word
        (0.5, False, True, False),  # out of time is no optimum
    ],
)
def test_the_same_optimum_is_a_matter_of_cost_alone(excess: float, success: bool, late: bool, same: bool) -> None:
    assert run(excess=excess, success=success, ran_out_of_time=late).same_optimum is same


def test_its_time_is_that_from_which_it_stayed_there() -> None:
    trace = [(1.0, 0.3), (2.0, 0.0004), (3.0, 0.02), (4.0, -0.0009), (5.0, 0.0001)]
    assert run(trace=trace).reached == 4.0
    assert run(trace=trace[:3]).reached == 10.0
    assert run().reached == 10.0
    assert run(trace=trace, excess=0.01).reached is None


def test_one_tick_elsewhere_spoils_a_peer() -> None:
    assert judged([run(), run(seconds=20.0)])["seconds"] == 15.0
    spoilt = judged([run(), run(excess=0.01)])
    assert spoilt["same_optimum"] is False
    assert spoilt["seconds"] is None


def test_the_fastest_at_the_same_optimum_is_the_best_peer() -> None:
    peers = [judged([run(seconds=8.0)]), judged([run(seconds=20.0)]), judged([run(seconds=1.0, excess=0.2)])]
    assert speed_over(peers, 0.5) == {"times": 16.0, "at_least": 16.0}


@pytest.mark.parametrize(("had", "expected"), [(30.0, (16.0, 16.0)), (6.0, (None, 12.0))])
def test_out_of_time_is_a_lower_bound_and_no_more(had: float, expected: tuple[float | None, float]) -> None:
    """It does not matter where it had more time than the best needed; with less it might have been faster."""
    late = judged([run(seconds=had, excess=0.4, success=False, ran_out_of_time=True)])
    found = speed_over([judged([run(seconds=8.0)]), late], 0.5)
    assert (found["times"], found["at_least"]) == expected
    assert speed_over([late], 0.5)["times"] is None


def test_without_peers_nothing_is_claimed() -> None:
    assert speed_over([], 0.5) == {"times": None, "at_least": None}
