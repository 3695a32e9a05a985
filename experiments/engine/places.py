"""Where the repository and its results lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
"""The committed tables, with their provenance and figures."""
