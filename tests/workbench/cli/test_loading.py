"""A load takes the operations of a log in parts, from wherever it stopped."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import workbench.cli.loading
from dp.log import read_log
from dp.presence.daily import day_number
from tests.examples import examples
from workbench.cli.loading import columns_in_order, operations_in_order
from workbench.cli.main import main
from workbench.service.packing import NAME, NEVER

DAYS = [f"2024-05-{day:02d}" for day in range(1, 6)]


@examples(15)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(DAYS), st.sampled_from(DAYS)), max_size=15),
    together=st.integers(1, 6),
    sorted_at_once=st.integers(1, 6),
)
@pytest.mark.slow
def test_the_parts_are_the_whole_from_every_row_on(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    together: int,
    sorted_at_once: int,
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    lines = [f"{user},{min(day, at)},,{max(day, at)}" for user, day, at in rows]
    lines += [f"{user},,erase,{at}" for user, _, at in rows[:2]]
    path.write_text("\n".join(["user,day,op,at", *lines, ""]))
    with pytest.MonkeyPatch.context() as patch, read_log(path, compressed=True) as log:
        patch.setattr(workbench.cli.loading, "ROWS_AT_ONCE", together)
        patch.setattr(workbench.cli.loading, "ROWS_SORTED", sorted_at_once)
        found = list(operations_in_order(log))
        texts = dict(log.connection.execute('SELECT user_id, "user" FROM users').fetchall())
        numbers = np.zeros(len(texts) + 1, NAME)
        numbers["low"] = np.arange(len(numbers))
        whole = [(one.user, NEVER if one.day is None else one.day, one.op, one.at) for one in found]
        # A stable sort of the rows by their arrival, which is what the order is.
        assert [(user, at) for user, _, _, at in whole] == [
            (line.split(",")[0], _arrival(line)) for line in sorted(lines, key=lambda line: line.rsplit(",", 1)[1])
        ]
        for skip in range(len(whole) + 1):
            parts = list(columns_in_order(log, numbers, np.zeros(1, np.uint32), skip))
            rest = [
                (texts[name], day, op, at)
                for part in parts
                for name, day, op, at in zip(part.names["low"].tolist(), part.day, part.op, part.at, strict=True)
            ]
            assert rest == whole[skip:]
            assert all(len(part.op) <= together for part in parts)


def test_what_a_log_says_of_segments_is_loaded(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "user,day,op,platform,at\nann,2026-01-01,,ios,\nbob,2026-01-01,,web,\nbob,2026-01-01,-,web,\n"
        "bob,2026-01-01,,tv,\ncem,2026-01-01,,,\ndan,2026-01-01,,ios,\ndan,,erase,ios,2026-01-01\n"
    )
    settings = tmp_path / "dpdau.toml"
    settings.write_text(
        'first_day = "2026-01-01"\nfuture_days = true\nbudget_epsilon = 1e6\n[by.platform]\nkind = "last"\n'
        'values = ["ios", "web"]\n[questions."mau/platform"]\nepsilon = 100\n'
    )
    run = CliRunner().invoke
    places = ["--config", str(settings), "--set", f"store={tmp_path}/s", "--set", f"ledger={tmp_path}/l"]
    loaded = run(main, ["load", str(log), *places])
    assert "7 of 7 operations stored" in loaded.stderr
    closed = run(main, ["close", "--through", "2026-01-02", "--format", "json", *places])
    rows = json.loads(closed.stdout)
    assert [row["segment"] for row in rows[:6]] == [None, None, None, "ios", "web", "other"], closed.stderr
    assert [row["question"] for row in rows[:6]] == ["dau", "wau", "mau", "mau", "mau", "mau"]
    assert [row["estimate"] for row in rows[3:6]] == pytest.approx([1, 0, 2], abs=2)
    answered = run(main, ["answer", "mau/platform", "--day", "2026-01-01", "--format", "json", *places])
    assert json.loads(answered.stdout) == rows[3:6]
    table = run(main, ["answer", "mau/platform", *places])
    assert "platform" in table.stdout
    assert "other" in table.stdout
    wrong = run(main, ["answer", "mau", *places])
    assert wrong.exit_code == 1
    assert "choose dau, wau, mau, mau/platform" in wrong.stderr


def test_a_column_that_only_the_running_period_asks_for_is_loaded(tmp_path: Path) -> None:
    settings = tmp_path / "dpdau.toml"
    common = 'first_day = "2026-01-01"\nfuture_days = true\nbudget_epsilon = 1e6\n'
    asked = '[by.platform]\nkind = "last"\nvalues = ["ios"]\n[questions."mau/platform"]\nepsilon = 100\n'
    run = CliRunner().invoke
    places = ["--config", str(settings), "--set", f"store={tmp_path}/s", "--set", f"ledger={tmp_path}/l"]
    settings.write_text(f"{common}horizon = 2\n{asked}")
    run(main, ["close", "--day", "2026-01-01", *places])
    settings.write_text(f"{common}horizon = 9\n")
    renewed = run(main, ["renew", "--from", "2026-01-03", "--yes", *places])
    assert renewed.exit_code == 0, renewed.output
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["user,day,platform", *(f"u{number},2026-01-02,ios" for number in range(30)), ""]))
    run(main, ["load", str(log), *places])
    closed = run(main, ["close", "--day", "2026-01-02", "--format", "json", *places])
    rows = json.loads(closed.stdout)[3:]
    assert [row["segment"] for row in rows] == ["ios", "other"], closed.stderr
    assert [row["estimate"] for row in rows] == pytest.approx([30, 0], abs=3)


def _arrival(line: str) -> int:
    """When a row arrives."""
    return day_number(date.fromisoformat(line.rsplit(",", 1)[1]))
