"""Units and durations: one pint registry, loaded on first use; conversions as plain numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from procmodel.errors import PlantFileError

CURRENCIES = ("CHF", "EUR", "USD", "GBP", "JPY", "CNY", "INR", "SEK", "NOK", "DKK", "CAD", "AUD", "BRL")

# Seconds per unit of the plain durations; anything else is left to pint.
_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PLAIN_DURATION = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*(ms|s|sec|min|h|d)\s*", re.ASCII)
_NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d.].*?)\s*", re.ASCII)

_DEFINITIONS = (
    *(f"{code} = [currency_{code.lower()}]" for code in CURRENCIES),
    "percent_of_mass = 0.01 = wt_percent",
    "percent_of_volume = 0.01 = vol_percent",
    "percent_of_amount = 0.01 = mol_percent",
    "acidity = [acidity] = pH",  # pint alone reads a picohenry
    "normal_cubic_meter = [normal_volume] = Nm3",  # its size depends on the works' reference state
    "standard_cubic_meter = [standard_volume] = Sm3",
)
_SPELLINGS = (  # as written on a P&ID -> as pint reads it
    (re.compile(r"\b(wt|vol|mol)\s*-?\s*%"), r"\1_percent"),
    (re.compile(r"\b([a-zµ]*(?:m|ft|in|s))([23])\b"), r"\1**\2"),
    (re.compile(r"\bNm\b"), "N*m"),
    (re.compile(r"€"), "EUR"),
    (re.compile(r"\$"), "USD"),
)


@cache
def registry() -> Any:
    """The pint registry, made on first use (it takes a quarter of a second)."""
    import pint

    units: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    for definition in _DEFINITIONS:
        units.define(definition)
    return units


@cache
def _parsed(unit: str) -> Any:
    """`unit` as a pint unit.

    Raises:
        PlantFileError: it is none that is known here.
    """
    text = unit.strip()
    if text in ("-", "1"):
        return registry().dimensionless
    for written, read in _SPELLINGS:
        text = written.sub(read, text)
    try:
        if not text:
            raise ValueError("empty")
        return registry().parse_units(text)
    except Exception as error:  # pint raises AssertionError, tokenizer and attribute errors for odd texts
        gauge = " Gauge pressure is not converted: write the absolute unit." if re.search(r"(bar|psi)g", text) else ""
        raise PlantFileError(
            f"unknown unit {unit!r}. Write one such as degC, kPa, kg/min, m3/h, % or 1 (no unit).{gauge}"
        ) from error


def check_unit(unit: str) -> None:
    """Raise `PlantFileError` where `unit` is none that is known here."""
    _parsed(unit)


def parse_duration(text: str) -> float:
    """Seconds of a duration written with its unit: "5 s", "2 min", "1 h", "1 d", "250 ms".

    Raises:
        PlantFileError: `text` is no duration, or a negative one.
    """
    if plain := _PLAIN_DURATION.fullmatch(text):
        seconds = float(plain[1]) * _SECONDS[plain[2]]
    else:
        seconds = _uncommon_duration(text)
    if seconds < 0:
        raise PlantFileError(f"duration {text!r} is negative; it needs to be 0 or more.")
    return seconds


def _uncommon_duration(text: str) -> float:
    needed = PlantFileError(f"got {text!r}, needs a duration with its unit, such as 5 s, 2 min or 1 h.")
    if not (parts := _NUMBER_AND_UNIT.fullmatch(text)):
        raise needed
    try:
        unit = _parsed(parts[2])
    except PlantFileError as error:
        raise needed from error
    if unit.dimensionality != {"[time]": 1}:
        raise needed
    return float(registry().Quantity(float(parts[1]), unit).to("s").magnitude)


@cache
def affine(from_unit: str, to_unit: str) -> tuple[float, float]:
    """(gain, offset) so that `value [to_unit] = gain * value [from_unit] + offset`.

    Raises:
        PlantFileError: a unit is unknown, or the two measure different things.
    """
    source, target = _parsed(from_unit), _parsed(to_unit)
    if source == target:
        return 1.0, 0.0
    if source.dimensionality != target.dimensionality:
        raise PlantFileError(
            f"unit {from_unit!r} measures {_dimension(source)}, which cannot be converted to {to_unit!r}, "
            f"{_dimension(target)}. Write a unit of the same kind as {to_unit!r}."
        )
    at = [float(registry().Quantity(x, source).to(target).magnitude) for x in (0.0, 1.0, 1000.0)]
    # A far second point: 0 degF to 1 degF alone loses digits against the offset.
    gain = float(f"{(at[2] - at[0]) / 1000.0:.15g}")
    if not math.isclose(at[1] - at[0], gain, rel_tol=1e-6):
        raise PlantFileError(f"unit {from_unit!r} to {to_unit!r} is no straight line. Record the tag in {to_unit!r}.")
    return gain, at[0]


def circle(unit: str) -> float:
    """One whole turn [unit].

    Raises:
        PlantFileError: `unit` is none of angles.
    """
    if unit.strip() in ("-", "1", "%") or _parsed(unit).dimensionality:
        raise PlantFileError(f"an angle needs a unit such as deg or rad, got {unit!r}. Correct the unit, or the kind.")
    return float(registry().Quantity(1.0, "turn").to(_parsed(unit)).magnitude)


def rate_gain(counted: str, rate: str) -> float:
    """Rate [`rate`] of a counter that rises by 1 [`counted`] per second.

    Raises:
        PlantFileError: a unit is unknown, or `rate` is no rate of `counted`.
    """
    check_unit(rate)
    check_unit(counted)
    per = "1" if counted.strip() in ("-", "1") else counted
    try:
        return affine(f"({per})/s", rate)[0]
    except PlantFileError as error:
        raise PlantFileError(
            f"unit {rate!r} is no rate of what is counted in {counted!r}. Write one such as {counted}/h."
        ) from error


def _dimension(unit: Any) -> str:
    powers = {str(name).strip("[]"): power for name, power in unit.dimensionality.items()}
    return " * ".join(f"{name}^{power:g}" if power != 1 else name for name, power in powers.items()) or "no dimension"


def converter(from_unit: str, to_unit: str) -> Callable[[Any], Any]:
    """Function from an array (or number) in `from_unit` to one in `to_unit`; the identity where they are the same.

    Raises:
        PlantFileError: a unit is unknown, or the two measure different things.
    """
    gain, offset = affine(from_unit, to_unit)
    if (gain, offset) == (1.0, 0.0):
        return lambda values: values
    return lambda values: gain * values + offset


def parse_price(price: str, unit: str) -> float:
    """Cost of one unit of a tag for one hour [currency/h per `unit`].

    "0.02 CHF/V" on a tag in V is 0.02 per hour; "0.3 CHF/kg" on a tag in kg/min is 18: a flow is an amount per time.

    Raises:
        PlantFileError: `price` is no number of one currency per `unit`, or per what flows in `unit`.
    """
    needed = f"price {price!r} on a tag in {unit!r} needs a number of one currency per {unit}"
    if not (parts := _NUMBER_AND_UNIT.fullmatch(price)):
        raise PlantFileError(f"{needed}, such as '0.02 CHF/({unit})'.")
    paid = _parsed(parts[2])
    found = [code for code in CURRENCIES if paid.dimensionality.get(f"[currency_{code.lower()}]") == 1]
    if len(found) != 1:
        raise PlantFileError(f"{needed}, in one of {', '.join(CURRENCIES)}.")
    check_unit(unit)
    per = "1" if unit.strip() in ("-", "1") else unit
    for target in (f"{found[0]}/({per})/h", f"{found[0]}/({per})"):  # a pair makes degC a difference, as it has to be
        if paid.dimensionality == _parsed(target).dimensionality:
            return float(registry().Quantity(float(parts[1]), paid).to(_parsed(target)).magnitude)
    raise PlantFileError(f"{needed} (a flow, such as kg/h, may also be priced per kg).")
