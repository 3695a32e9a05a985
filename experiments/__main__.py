"""`python -m experiments …` is `dpdau experiment …` without the rest of the command line."""

from __future__ import annotations

from experiments.cli import experiment

if __name__ == "__main__":
    experiment(prog_name="python -m experiments")
