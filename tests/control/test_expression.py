"""The engineer's expressions: what they may say, and what they are told when they say something else."""

from __future__ import annotations

import math

import casadi as ca
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.control.expression import parse
from procmodel.errors import PlantFileError

TAGS = {"FI1": 2.0, "FI1.PV": 3.0, "FI-1": 5.0, "41TIC101.PV": 7.0, "Feed rate": 11.0, "LI101.PV": 13.0, "e": 17.0}


def value(text: str) -> float:
    symbols = {name: ca.SX.sym(f"x{i}") for i, name in enumerate(TAGS)}
    expression = ca.SX(parse(text, symbols))
    return float(ca.Function("f", [ca.vertcat(*symbols.values())], [expression])(list(TAGS.values())))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("600 * FI1.PV - 20*FI1", 600 * 3 - 20 * 2),
        ("FI-1", 5.0),  # a name, not a difference
        ("FI1.PV-FI1", 1.0),
        ("-FI1**2 + 1e2", -4.0 + 100.0),
        ("2*41TIC101.PV", 14.0),
        ("'Feed rate' / FI1 + \"Feed rate\" + `FI-1`", 5.5 + 11 + 5),
        ("e + 1e1", 27.0),
        ("sqrt(abs(FI1 - 11)) + exp(0) + log(1)", 4.0),
        ("min(FI1, FI1.PV, 1) + max(FI1, LI101.PV)", 14.0),
        ("(FI1 + FI1.PV) * (2)", 10.0),
        ("3", 3.0),
    ],
)
def test_an_expression_has_its_value(text: str, expected: float) -> None:
    assert value(text) == pytest.approx(expected)


NUMBERS = st.floats(0.1, 9, allow_nan=False).map(lambda x: f"{x:.3f}")
EXPRESSIONS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from(["FI1", "FI1.PV", "LI101.PV"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"abs({t})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_arithmetic_is_pythons(text: str) -> None:
    plain = text.replace("FI1.PV", "3.0").replace("FI1", "2.0").replace("LI101.PV", "13.0")
    assert value(text) == pytest.approx(eval(plain, {"abs": abs}), rel=1e-9, abs=1e-9)  # our own text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("600 * FI10", r"unknown tag 'FI10'.*Did you mean 'FI1'\?.*FI1, FI1.PV, FI-1"),
        ("LI101.SP + 1", "unknown tag 'LI101.SP'.*Did you mean 'LI101.PV'"),
        ("'Feed rat'", "unknown tag 'Feed rat'"),
        ("FI1 +", "cannot be read as an expression"),
        ("", "cannot be read as an expression"),
        ("__import__('os')", "unknown tag 'os'|is not allowed"),
        ("__import__(FI1)", "is not allowed"),
        ("FI1.__class__", "unknown tag 'FI1.__class__'"),
        ("FI1 if FI1 else 2", "is not allowed"),
        ("FI1 > 2", "is not allowed"),
        ("[FI1]", "is not allowed"),
        ("lambda: 1", "is not allowed"),
        ("True * FI1", "is not a number"),
        ("FI1 * 2j", "is not a number"),
        ("1 / 0", "has no finite value"),
        ("9.0 ** 9999", "has no finite value"),
        ("sqrt(FI1, 2)", "needs one argument, got 2"),
        ("max(FI1)", "needs two arguments or more, got 1"),
        ("(" * 150 + "1" + ")" * 150 + "+" + "-" * 150 + "1", "deeper than|cannot be read"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(PlantFileError, match=said):
        value(text)


def test_a_message_shows_tags_and_not_placeholders() -> None:
    with pytest.raises(PlantFileError) as caught:
        value("[FI1.PV, FI-1]")
    assert "tag_" not in str(caught.value)
    assert "'[FI1.PV, FI-1]'" in str(caught.value).replace("  ", " ").replace("[ ", "[")


def test_numbers_stay_exact() -> None:
    assert value("0.1 + 0.2") == 0.1 + 0.2
    assert math.isclose(value("1e-300 * FI1"), 2e-300)
