"""How work says how far it is."""

from collections.abc import Callable

Progress = Callable[[str, float | None], None]
"""Called with a stage and the fraction done, None where that is not known. Details of a stage follow after ': '."""


def silent(stage: str, fraction: float | None) -> None:
    """Say nothing."""
