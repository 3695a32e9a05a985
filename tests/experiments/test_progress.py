"""Progress lines: none for what is quick, and no long silence for what is not."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from experiments.engine import progress
from experiments.engine.progress import progress_bar, progress_lines
from tests.patience import PATIENCE_SECONDS


def wait_for(lines: list[str], number: int) -> None:
    """Wait until so many lines are there, and no longer than a busy machine needs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(lines) < number and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(lines) >= number


def test_what_is_quick_says_nothing() -> None:
    lines: list[str] = []
    with progress_lines(lines.append) as report:
        for day in range(1000):
            report(f"closing days: {day}", day / 1000)
    assert lines == []


def test_a_stage_that_reports_once_is_heard_of_again_and_again() -> None:
    lines: list[str] = []
    with progress_lines(lines.append, patience=0.02, between=0.03) as report:
        report("counting users", None)
        wait_for(lines, 3)
    assert all(line.startswith("counting users (") for line in lines)


def test_a_stage_gets_a_line_when_it_begins_and_its_details_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FEWEST_LINE_SECONDS", 0.0)
    lines: list[str] = []
    with progress_lines(lines.append, patience=0.01, between=60) as report:
        for number, stage in enumerate(("reading", "closing days"), 1):
            for step in range(5):
                report(f"{stage}: {step}", step / 5)
                wait_for(lines, number)
            time.sleep(0.005)
    assert [line.split(" (")[0] for line in lines] == ["reading: 0, 0%", "closing days: 0, 0%"]


def test_stages_that_follow_fast_share_a_line() -> None:
    lines: list[str] = []
    with progress_lines(lines.append, patience=0.0, between=60) as report:
        for stage in range(100):
            report(f"stage {stage}", None)
            time.sleep(0.0005)
    assert len(lines) == 1


def test_lines_end_with_the_work_also_where_it_fails() -> None:
    lines: list[str] = []

    def fail() -> None:
        with progress_lines(lines.append, 0.0, 0.001):
            wait_for(lines, 1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    said = len(lines)
    time.sleep(0.01)
    assert len(lines) == said


def test_without_a_terminal_standard_error_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    with progress_bar() as report:
        report("storing", 0.25)
        # A first line may have been said before the stage was known.
        while "storing, 25% (" not in stream.getvalue():
            time.sleep(0.001)
    assert set(re.sub(r"\d+ s", "", line) for line in stream.getvalue().splitlines()) <= {
        "starting ()", "storing, 25% ()",
    }  # fmt: skip
