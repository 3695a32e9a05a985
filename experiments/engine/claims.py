"""Claims that a finding makes of its table beyond the numbers in its sentence."""

from __future__ import annotations


def require(holds: object, claim: str) -> None:
    """Raise ValueError, which names the claim, unless it holds."""
    if not holds:
        raise ValueError(f"the table does not bear out that {claim}")
