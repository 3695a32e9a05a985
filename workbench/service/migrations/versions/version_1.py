"""Version 1: a row for each operation, and tables of user-days, of latest days and of flips."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """Where every history begins: stores of this version are marked with it."""
