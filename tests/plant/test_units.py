"""Units and durations against definitions and published conversions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.errors import PlantFileError
from procmodel.plant.units import affine, check_unit, converter, parse_duration, parse_price

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5 s", 5.0),
        ("250 ms", 0.25),
        ("2 min", 120.0),
        ("1.5 h", 5400.0),
        (".5h", 1800.0),
        ("1 d", 86400.0),
        ("0 s", 0.0),
        ("1e3 s", 1000.0),
        ("1 week", 604800.0),
        ("2 hours", 7200.0),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["5", "s", "", "5 V", "-5 s", "inf s", "nan s", "1 h 30 min", "5 S", "5 m", "soon"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PlantFileError, match=r"needs a duration with its unit, such as 5 s|is negative"):
        parse_duration(text)


def test_plain_durations_are_read_without_loading_pint() -> None:
    program = (
        "import sys; from procmodel.plant.units import parse_duration;"
        "print(parse_duration('5 s'), parse_duration('10 min'), 'pint' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5.0", "600.0", "False"]


@pytest.mark.parametrize(
    ("source", "value", "target", "expected"),
    [
        ("degF", 32.0, "degC", 0.0),
        ("degF", 212.0, "degC", 100.0),
        ("degC", -273.15, "K", 0.0),
        ("bar", 1.0, "kPa", 100.0),
        ("psi", 1.0, "kPa", 6.894757293168),  # NIST SP 811: 6894.757 Pa
        ("%", 50.0, "1", 0.5),
        ("m3/h", 3.6, "l/s", 1.0),
        ("kg/min", 1.0, "t/h", 0.06),
        ("kWh", 1.0, "MJ", 3.6),
        ("degC/min", 60.0, "degF/h", 6480.0),  # a rate has no zero point
        ("Nm", 2.0, "J", 2.0),
        ("-", 7.0, "1", 7.0),
        ("°C", 7.0, "degC", 7.0),
        ("wt%", 7.0, "%", 7.0),
        ("cm2", 1e4, "m**2", 1.0),
    ],
)
def test_a_conversion_gives_the_published_figure(source: str, value: float, target: str, expected: float) -> None:
    values = converter(source, target)(np.array([value, value]))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-10)


@given(st.floats(-1e6, 1e6), st.sampled_from([("degF", "degC"), ("bar", "kPa"), ("m3/h", "l/min"), ("degC", "K")]))
def test_a_conversion_there_and_back_changes_nothing(value: float, units: tuple[str, str]) -> None:
    there, back = converter(*units), converter(*reversed(units))
    assert back(there(value)) == pytest.approx(value, rel=1e-12, abs=1e-9)


def test_the_same_unit_is_left_as_it_is() -> None:
    values = np.array([0.1, 0.2])
    assert converter("degC", "degC")(values) is values
    assert affine("kg/h", "kg/h") == (1.0, 0.0)


@pytest.mark.parametrize("unit", ["foo", "", "V*", "2 V", "m3/h/", "__import__('os')", "[length]", "()"])
def test_an_unknown_unit_is_named(unit: str) -> None:
    with pytest.raises(PlantFileError, match="unknown unit") as caught:
        check_unit(unit)
    assert repr(unit) in str(caught.value)


def test_gauge_pressure_is_refused_with_the_reason() -> None:
    with pytest.raises(PlantFileError, match="Gauge pressure is not converted: write the absolute unit"):
        check_unit("barg")


def test_units_of_different_kinds_are_refused_by_both_names() -> None:
    with pytest.raises(PlantFileError, match=r"'bar' measures .*pressure|'bar' measures mass") as caught:
        converter("bar", "degC")
    assert "'degC', temperature" in str(caught.value)
    assert "same kind as 'degC'" in str(caught.value)


def test_a_logarithmic_unit_is_refused_since_no_straight_line_converts_it() -> None:
    with pytest.raises(PlantFileError, match="no straight line"):
        affine("dB", "1")


def test_ph_is_no_picohenry() -> None:
    with pytest.raises(PlantFileError, match="'pH' measures acidity"):
        affine("pH", "H")


@pytest.mark.parametrize(
    ("price", "unit", "per_hour"),
    [
        ("0.02 CHF/V", "V", 0.02),
        ("0.3 CHF/kg", "kg/min", 18.0),  # 60 min/h
        ("100 EUR/(t/h)", "kg/h", 0.1),
        ("0.1 CHF/kWh", "kW", 0.1),
        ("2 USD/K", "degC", 2.0),
        ("9 USD/degC", "degF", 5.0),
        ("3 CHF/m3", "m3/h", 3.0),
        ("0.5 CHF/%", "%", 0.5),
        ("2 CHF/kg/h", "kg", 2.0),
    ],
)
def test_a_price_is_the_cost_of_one_unit_for_one_hour(price: str, unit: str, per_hour: float) -> None:
    assert parse_price(price, unit) == pytest.approx(per_hour, rel=1e-12)


@pytest.mark.parametrize("price", ["0.02 CHF/kg", "0.02 V", "CHF/V", "0.02", "1 CHF/EUR/V", "much"])
def test_a_price_that_does_not_fit_its_tag_is_refused(price: str) -> None:
    with pytest.raises(PlantFileError, match="needs a number of one currency per V"):
        parse_price(price, "V")
