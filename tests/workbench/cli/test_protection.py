"""`dpdau exact --protection`: how much of a log the promise covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dp.log import read_log
from dp.presence.needed_runs import needed_runs
from tests.conftest import Run
from tests.workbench.cli.common import PERIOD, rows_of


@pytest.mark.parametrize(("w_bound", "inside"), [((), [2]), (("--w-bound", 4), [2, 4])])
def test_what_is_inside_and_what_holds_for_the_rest(
    run: Run, log: Path, w_bound: tuple[object, ...], inside: list[int]
) -> None:
    result = run("exact", log, "--protection", "--metric", "mau", *w_bound, *PERIOD, "--format", "json")
    rows = rows_of(result)
    with read_log(log) as checked:
        found = needed_runs(checked.connection, 30, checked.first_day, checked.last_day)
    assert {row["flips"] // 2: row["user_days"] for row in rows} == found.user_days
    assert {row["flips"] // 2: row["users"] for row in rows} == found.users
    assert sum(row["user_days_percent"] for row in rows) == pytest.approx(100)
    assert [row["flips"] for row in rows if row["inside"]] == inside
    epsilons = [row["epsilon"] for row in rows]
    assert epsilons[0] == 1.0 <= epsilons[-1]
    assert epsilons == sorted(epsilons)
    assert "NOT PRIVATE" in result.stderr
    assert f"mau: W_BOUND {max(inside)} covers " in result.stderr


def test_a_table_is_marked_and_several_metrics_stand_in_it(run: Run, log: Path) -> None:
    shown = run("exact", log, "--protection", "--epsilon", 2, "--mechanism", "laplace").stdout
    assert "NOT PRIVATE" in shown
    assert all(metric in shown for metric in ("dau", "wau", "mau"))
    assert "False" not in shown


def test_what_cannot_be_measured_is_refused(run: Run, log: Path) -> None:
    assert "epsilon is 0" in run("exact", log, "--protection", "--epsilon", 0, code=1).stderr
