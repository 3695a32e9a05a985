"""Numbers in words say the number, without a hyphen or a letter e in them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.engine.numbers import power_of_ten, signed
from tests.laws import each

SUPERSCRIPTS = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
finite = st.floats(-1e12, 1e12, allow_subnormal=False)


def read(text: str) -> float:
    """The number that a text says, character by character."""
    mantissa, power = text, ""
    while mantissa and mantissa[-1] in SUPERSCRIPTS:
        mantissa, power = mantissa[:-1], SUPERSCRIPTS[mantissa[-1]] + power
    if power:
        front, _, ten = mantissa.rpartition("10")
        assert not ten
        front = front.removesuffix(" × ")
        mantissa = front + "1" if front in ("", "−") else front
    return float(mantissa.replace("−", "-").replace(",", "")) * 10.0 ** int(power or "0")


@each(
    ("value", "text"),
    [
        (1e-6, "10⁻⁶"), (1e-10, "10⁻¹⁰"), (3e-06, "3 × 10⁻⁶"), (2.5e-7, "2.5 × 10⁻⁷"), (9.9996e-7, "10⁻⁶"), (0.0, "0"),
        (1.0, "1"), (0.01, "10⁻²"), (1e6, "10⁶"), (-1e-6, "−10⁻⁶"), (-2e3, "−2 × 10³"), (3, "3"),
    ],
)  # fmt: skip
def test_powers_of_ten(value: float, text: str) -> None:
    assert power_of_ten(value) == text


@each(
    ("value", "text"),
    [
        (-14, "−14"), (14, "14"), (0, "0"), (-0.0, "0"), (1395, "1,395"), (-12_345_678, "−12,345,678"), (0.25, "0.25"),
        (-0.5, "−0.5"), (1234.5, "1,234.5"), (1234567.8, "1,234,568"), (1e-5, "10⁻⁵"), (-1e-6, "−10⁻⁶"),
        (0.0001, "0.0001"), (100.0, "100"), (99.99999999, "100"),
    ],
)  # fmt: skip
def test_signed_numbers(value: float, text: str) -> None:
    assert signed(value) == text


def test_fewer_digits() -> None:
    assert (signed(2.4567, 3), signed(31.44, 3), signed(326.4, 3), signed(0.5381, 2)) == ("2.46", "31.4", "326", "0.54")
    assert signed(1492.4, 3) == "1,492"


@given(finite)
def test_what_is_written_is_what_is_meant(value: float) -> None:
    for text in (power_of_ten(value, 12), signed(value, 12)):
        assert read(text) == pytest.approx(value, rel=1e-10, abs=0)
        assert not set(text) & set("-eE+")


@each("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_refused(value: float) -> None:
    for write in (power_of_ten, signed):
        with pytest.raises(ValueError, match="it must be finite"):
            write(value)
        with pytest.raises(ValueError, match="digits is 0"):
            write(1.0, 0)
