"""What the commands need before any config is read."""

from __future__ import annotations

PROFILES = ("quick", "full")
"""`quick` is a config as it is written."""

TOLERANCE = 1e-6
"""Largest relative difference of a number in two runs, for configs that do not state one."""
