"""Numbers in words, the same in figures and on pages."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\u2212"


def power_of_ten(value: float) -> str:
    """A small or large positive number: 1e-6 → "10⁻⁶", 3e-6 → "3·10⁻⁶"; 0 → "0"."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value) + 1e-12)
    factor = f"{value / 10.0**exponent:.3g}"
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if factor == "1" else f"{factor}·{power}"


def signed(value: float) -> str:
    """A number of users, rounded, with a true minus sign: −14, 1,395."""
    return f"{round(value):,}".replace("-", MINUS)
