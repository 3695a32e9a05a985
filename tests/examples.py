"""The profile under which every hypothesis test runs, and how many examples each one tries.

By default examples are derived from the test's source, so that a failure on one machine is a failure on all.
`HYPOTHESIS_PROFILE=nightly` or `--hypothesis-profile nightly` draws random examples, and ten times as many.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

ORDINARY = 100


def load_profile() -> None:
    """Register the profiles and load the one that the environment names."""
    settings.register_profile(
        "repeatable", max_examples=ORDINARY, deadline=None, derandomize=True, database=None, print_blob=True
    )
    settings.register_profile("nightly", max_examples=10 * ORDINARY, deadline=None, derandomize=False, print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def examples(number: int, **more: Any) -> settings:
    """A decorator: try so many examples, or as many times more as the loaded profile tries; `more` as in `settings`."""
    return settings(max_examples=number * settings().max_examples // ORDINARY, **more)
