"""`python -m experiments CONFIG …` runs configs without the rest of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.config import ConfigError
from experiments.runner import run


def main(arguments: list[str]) -> int:
    """Run each config named; returns the exit code."""
    if not arguments:
        print("usage: python -m experiments CONFIG.toml …", file=sys.stderr)
        return 2
    for argument in arguments:
        try:
            finished = run(Path(argument), Path("results"), Path(".cache/experiments"))
        except ConfigError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        print(*finished.files, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
