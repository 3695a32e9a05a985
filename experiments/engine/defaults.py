"""What the commands must know before any config is read."""

from __future__ import annotations

PROFILES = ("quick", "full")
"""`quick` is a config as it stands."""

TOLERANCE = 1e-6
"""Of a config that states none: largest relative difference of a number in two runs."""
