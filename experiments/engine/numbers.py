"""Numbers as people read them: powers of ten in superscripts, a true minus sign, thousands set apart."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
SMALLEST_PLAIN = 1e-4
"""Numbers nearer to 0 are written as powers of ten."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float, digits: int = 3) -> str:
    """A number as a multiple of a power of ten: 1e-6 gives "10⁻⁶", 2.5e-7 gives "2.5 × 10⁻⁷", 0 gives "0".

    Args:
        digits: significant digits that are kept.

    Raises:
        ValueError: the value is not finite, or `digits` is below 1.
    """
    _validate(value, digits)
    mantissa, _, exponent = f"{abs(value):.{digits - 1}e}".partition("e")
    mantissa, power = _trimmed(mantissa), int(exponent)
    sign = MINUS if value < 0 else ""
    if power == 0 or value == 0:
        return sign + mantissa
    raised = "10" + str(power).translate(_SUPERSCRIPTS)
    return sign + (raised if mantissa == "1" else f"{mantissa} × {raised}")


def signed(value: float, digits: int = 6) -> str:
    """A number in plain digits: -14 gives "−14", 12345.0 gives "12,345", 0.25 gives "0.25".

    Whole numbers keep all their digits. Numbers nearer to 0 than 10⁻⁴ are written as by `power_of_ten`.

    Args:
        digits: significant digits that are kept of a fraction; digits before the point are never dropped.

    Raises:
        ValueError: the value is not finite, or `digits` is below 1.
    """
    _validate(value, digits)
    size = abs(value)
    if 0 < size < SMALLEST_PLAIN:
        return power_of_ten(value, digits)
    if size == int(size):
        text = f"{size:,.0f}"
    else:
        before = len(str(int(size))) if size >= 1 else 1 + math.floor(math.log10(size))
        text = _trimmed(f"{size:,.{max(digits - before, 0)}f}")
    return MINUS + text if value < 0 and text.strip("0.,") else text


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _validate(value: float, digits: int) -> None:
    if not math.isfinite(value):
        raise ValueError(f"value is {value}; it must be finite")
    if digits < 1:
        raise ValueError(f"digits is {digits}; it must be at least 1")
