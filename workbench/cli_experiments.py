"""The group `experiment`: the experiments' own commands, under the project's name."""

from __future__ import annotations

from experiments.cli import experiment

__all__ = ["experiment"]
