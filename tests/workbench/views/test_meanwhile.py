"""Work beside a job: its result, its error, and a job that is not wanted any more."""

from __future__ import annotations

import threading

import pytest

from workbench.views.jobs.job import Superseded
from workbench.views.jobs.meanwhile import meanwhile


def test_what_the_work_returns_or_raises_comes_through() -> None:
    told: list[int] = []
    assert meanwhile(lambda: 7, lambda: told.append(1)) == 7
    with pytest.raises(TimeoutError, match="of its own"):
        meanwhile(fail, lambda: None)


def fail() -> None:
    raise TimeoutError("of its own")


def test_the_job_tells_while_the_work_lasts() -> None:
    enough = threading.Event()
    told: list[int] = []

    def tell() -> None:
        told.append(1)
        if len(told) == 2:
            enough.set()

    assert meanwhile(lambda: enough.wait(30), tell)
    assert len(told) >= 2


def test_a_job_that_is_not_wanted_leaves_at_once_and_the_work_ends_by_itself() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(30)
        ended.set()

    def tell() -> None:
        raise Superseded

    with pytest.raises(Superseded):
        meanwhile(work, tell)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(30)
