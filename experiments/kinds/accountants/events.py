"""Releases as accountants know them."""

from __future__ import annotations

from dp.accounting.mechanism_events import MechanismEvent, discrete_laplace, gaussian


def part_of(release: str, parameter: float, count: int) -> MechanismEvent:
    """The releases as accountants know them.

    Raises:
        ValueError: there is no such release, or a number is out of range.
    """
    match release:
        case "gaussian":
            return gaussian(sigma=parameter, count=count)
        case "discrete-laplace":
            return discrete_laplace(epsilon=parameter, count=count)
    raise ValueError(f"release is {release!r}; choose gaussian or discrete-laplace")
