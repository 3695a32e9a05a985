"""The ledger refuses what must not happen, and remembers what did."""

from __future__ import annotations

import math
import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting.composition import Guarantee
from dp.database_url import DatabaseUrl, Place
from dp.ledger import BudgetExhausted, Ledger, LedgerError, open_ledger
from tests.examples import examples
from tests.laws import each
from tests.oracles import postgres

NOW = datetime(2026, 3, 1, 12, 30, 15)
START = date(2026, 1, 1)
SPECIFICATION = {"mechanism": "gaussian", "horizon": 30, "shares": {"dau": 1.0}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def place_in(folder: Path) -> Place:
    port = postgres.chosen()
    return folder / "ledger.db" if port is None else DatabaseUrl.of(postgres.database_of(folder, port))


@pytest.fixture
def place(database: None, tmp_path: Path) -> Place:
    """A file, or an empty PostgreSQL database."""
    return place_in(tmp_path)


@pytest.fixture
def integrity_error(place: Place) -> type[Exception]:
    """What the driver says of a statement that triggers or constraints refuse."""
    if isinstance(place, DatabaseUrl):
        import psycopg

        return psycopg.IntegrityError
    return sqlite3.IntegrityError


@pytest.fixture
def ledger(place):
    with open_ledger(place) as opened:
        opened.create_budget("team", Guarantee(1.0, 1e-5), START, None)
        yield opened


def charge(ledger: Ledger, stream: str, epsilon: float, delta: float = 0.0, **others):
    return ledger.charge(stream, others.get("budget", "team"), Guarantee(epsilon, delta), SPECIFICATION, NOW)


def totals(ledger: Ledger) -> Guarantee:
    charges = [entry.guarantee for entry in ledger.charges()]
    return Guarantee(math.fsum(part.epsilon for part in charges), math.fsum(part.delta for part in charges))


@pytest.fixture
def outsider(ledger, place):
    """A second connection with the same protection that `open_ledger` sets, for statements no method would make."""
    charge(ledger, "first", 0.25, 1e-6)
    with ledger.transaction():
        ledger.append("first", "dau", 0, ['{"tick": 0}', '{"tick": 1}'], "state")
    if isinstance(place, DatabaseUrl):
        connection = postgres.connected(place)
    else:
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("PRAGMA recursive_triggers = ON")
        connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


def as_said(statement: str, place: Place) -> str:
    """A statement in the words of the database that it goes to."""
    if not isinstance(place, DatabaseUrl):
        return statement
    # It takes what is no whole number, and rounds it.
    statement = statement.replace("0.5", "NULL")
    overwrites = next((text for table, text in OVERWRITE.items() if statement.startswith(f"{REPLACE} {table}")), "")
    return f"{statement.replace(REPLACE, 'INSERT INTO')} {overwrites}"


REPLACE = "INSERT OR REPLACE INTO"
OVERWRITE = {
    "charges": "ON CONFLICT (sequence) DO UPDATE SET epsilon = excluded.epsilon",
    "releases": "ON CONFLICT (stream, series, tick) DO UPDATE SET content = excluded.content",
    "budgets": "ON CONFLICT (name) DO UPDATE SET epsilon_cap = excluded.epsilon_cap",
}


FORBIDDEN = [
    "UPDATE charges SET epsilon = 1",
    "UPDATE charges SET stream = 'another'",
    "UPDATE charges SET specification = '{}'",
    "DELETE FROM charges",
    "INSERT OR REPLACE INTO charges VALUES (1, 'first', 'team', 1, 0, '{}', 'now')",
    "INSERT OR REPLACE INTO charges VALUES (7, 'first', 'team', 1, 0, '{}', 'now')",
    "INSERT OR REPLACE INTO charges VALUES (1, 'second', 'team', 1, 0, '{}', 'now')",
    "INSERT INTO charges VALUES (2, 'first', 'team', 1, 0, '{}', 'now')",
    "INSERT INTO charges VALUES (2, 'second', 'team', 0, 0, '{}', 'now')",
    "INSERT INTO charges VALUES (2, 'second', 'team', -5, 0, '{}', 'now')",
    "INSERT INTO charges VALUES (2, 'second', 'nobody', 5, 0, '{}', 'now')",
    "INSERT INTO charges VALUES (2, 'second', 'team', 0.5, 0, '{}', 'now')",
    "UPDATE releases SET content = 'x'",
    "DELETE FROM releases",
    "DELETE FROM releases WHERE tick = 1",
    "INSERT OR REPLACE INTO releases VALUES ('first', 'dau', 0, 'x')",
    "INSERT INTO releases VALUES ('first', 'dau', 0, 'x')",
    "INSERT INTO releases VALUES ('never charged', 'dau', 0, 'x')",
    "INSERT INTO releases VALUES ('first', 'dau', -1, 'x')",
    "DELETE FROM budgets",
    "INSERT OR REPLACE INTO budgets (name, starts, epsilon_cap, delta_cap) VALUES ('team', '2026-01-01', 9, 9)",
    "UPDATE budgets SET epsilon_spent = 0",
    "UPDATE budgets SET epsilon_spent = epsilon_spent - 1",
    "UPDATE budgets SET delta_spent = 0",
    "UPDATE budgets SET epsilon_spent = epsilon_cap + 1",
]


@each("statement", FORBIDDEN)
def test_history_cannot_be_rewritten(ledger, outsider, statement, place, integrity_error):
    before = (ledger.charges(), ledger.budgets(), ledger.releases("first", "dau"))
    # The ledger's own connection, as `open_ledger` leaves it; and a second one with the same protection.
    for connection in (ledger._connection, outsider):
        with pytest.raises(integrity_error):
            connection.execute(as_said(statement, place))
    assert (ledger.charges(), ledger.budgets(), ledger.releases("first", "dau")) == before


def test_the_statements_above_fail_for_their_own_reason(outsider):
    # The same kinds of statement succeed where they do no harm: it is the triggers that refuse, not the syntax.
    outsider.execute("UPDATE budgets SET epsilon_spent = epsilon_spent + 1")
    outsider.execute("INSERT INTO charges VALUES (2, 'second', 'team', 5, 0, '{}', 'now')")
    outsider.execute("INSERT INTO releases VALUES ('second', 'dau', 0, 'x')")


@each("statement", [text for text in FORBIDDEN if text.startswith("INSERT OR REPLACE")])
def test_a_connection_without_our_pragmas_cannot_replace_rows_either(outsider, statement, place, integrity_error):
    if isinstance(place, DatabaseUrl):
        # What keeps the triggers of others from running.
        outsider.execute("SET session_replication_role = replica")
    else:
        # The defaults of every other SQLite client.
        outsider.execute("PRAGMA recursive_triggers = OFF")
        outsider.execute("PRAGMA foreign_keys = OFF")
    with pytest.raises(integrity_error):
        outsider.execute(as_said(statement, place))


def test_a_table_of_a_database_cannot_be_emptied(outsider, place, integrity_error):
    if isinstance(place, DatabaseUrl):
        for table in ("identity", "budgets CASCADE", "charges CASCADE", "releases"):
            with pytest.raises(integrity_error):
                outsider.execute(f"TRUNCATE {table}")


@each("change", ["epsilon_cap = epsilon_cap * 10", "starts = '2030-01-01'", "ends = '2026-02-01'"])
def test_cap_and_period_of_a_budget_cannot_be_changed(outsider, change, integrity_error):
    with pytest.raises(integrity_error):
        outsider.execute(f"UPDATE budgets SET {change}")


def test_ten_tenths_fit_into_one_and_an_eleventh_does_not(ledger):
    for number in range(10):
        charge(ledger, f"stream {number}", 0.1)
    assert ledger.budget("team").spent.epsilon == 1.0
    assert ledger.budget("team").remaining.epsilon == 0.0
    with pytest.raises(BudgetExhausted):
        charge(ledger, "eleventh", 0.1)
    with pytest.raises(BudgetExhausted):
        charge(ledger, "tiny", 1e-12)
    assert len(ledger.charges()) == 10


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-12, 0.0), (1e-300, 0.0), (1e-9, 1e-18), (0.5, 1e-30)])
def test_a_tiny_charge_is_counted(ledger, epsilon, delta):
    made = charge(ledger, "tiny", epsilon, delta)
    assert made.guarantee.epsilon >= epsilon
    assert made.guarantee.delta >= delta
    assert ledger.budget("team").spent == made.guarantee
    charge(ledger, "another", epsilon, delta)
    assert ledger.budget("team").spent.epsilon == pytest.approx(2 * made.guarantee.epsilon)


@given(amounts=st.lists(st.tuples(st.floats(1e-14, 0.6), st.floats(0, 6e-6)), min_size=1, max_size=12))
@examples(20)
def test_spent_is_the_exact_sum_of_the_charges_and_never_above_the_cap(tmp_path_factory, amounts):
    with open_ledger(tmp_path_factory.mktemp("ledger") / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(1.0, 1e-5), START, None)
        for number, (epsilon, delta) in enumerate(amounts):
            before = ledger.budget("team")
            try:
                made = charge(ledger, f"stream {number}", epsilon, delta)
            except BudgetExhausted:
                assert epsilon > before.remaining.epsilon or delta > before.remaining.delta
                assert ledger.budget("team") == before
            else:
                assert epsilon <= made.guarantee.epsilon < epsilon + 1.001e-9
                assert delta <= made.guarantee.delta < delta + 1.001e-18
        standing = ledger.budget("team")
        assert standing.spent == pytest.approx(totals(ledger), abs=1e-15)
        assert standing.spent.epsilon <= standing.cap.epsilon
        assert standing.spent.delta <= standing.cap.delta


def test_delta_runs_out_too(ledger):
    charge(ledger, "first", 0.1, 9e-6)
    with pytest.raises(BudgetExhausted, match=r"remaining epsilon 0\.9, delta 1e-06"):
        charge(ledger, "second", 0.1, 2e-6)
    assert ledger.budget("team").spent == Guarantee(0.1, 9e-6)


def test_the_message_of_an_exhausted_budget_says_spent_requested_and_remaining(ledger):
    charge(ledger, "first", 0.75, 1e-6)
    with pytest.raises(BudgetExhausted) as refused:
        charge(ledger, "second", 0.5, 1e-6)
    assert refused.value.budget == ledger.budget("team")
    assert refused.value.requested == Guarantee(0.5, 1e-6)
    assert str(refused.value) == (
        "budget 'team' is exhausted: requested epsilon 0.5, delta 1e-06; spent epsilon 0.75 of 1, "
        "delta 1e-06 of 1e-05; remaining epsilon 0.25, delta 9e-06"
    )


def test_a_cap_below_the_request_is_called_too_small(ledger):
    for guarantee in ({"epsilon": 1.5}, {"epsilon": 0.5, "delta": 0.5}):
        with pytest.raises(BudgetExhausted, match="budget 'team' is too small: requested") as refused:
            charge(ledger, "stream", **guarantee)
        assert refused.value.reason == "too small"


@each("epsilon", [0.0, -0.1, math.nan, math.inf, -math.inf, 1e9])
def test_a_charge_needs_a_positive_finite_epsilon(ledger, epsilon):
    with pytest.raises(ValueError, match="epsilon must be positive"):
        charge(ledger, "stream", epsilon)
    assert ledger.charges() == []


@each("delta", [-1e-9, 1.0, math.nan, math.inf])
def test_a_charge_needs_a_delta_below_one(ledger, delta):
    with pytest.raises(ValueError, match=r"delta in \[0, 1\)"):
        charge(ledger, "stream", 0.1, delta)
    assert ledger.charges() == []


@each("cap", [Guarantee(0, 0), Guarantee(-1, 0), Guarantee(math.nan, 0), Guarantee(math.inf, 0), Guarantee(1, 1)])
def test_caps_are_validated(ledger, cap):
    with pytest.raises(ValueError, match="cap is"):
        ledger.create_budget("other", cap, START, None)
    assert [budget.name for budget in ledger.budgets()] == ["team"]


def test_a_key_is_idempotent(ledger):
    first = charge(ledger, "stream", 0.3, 1e-6)
    again = charge(ledger, "stream", 0.3, 1e-6)
    assert again == first
    assert ledger.charges() == [first]
    assert ledger.find_charge("stream") == first
    assert ledger.find_charge("another") is None
    assert ledger.budget("team").spent == Guarantee(0.3, 1e-6)


def test_a_key_is_idempotent_after_the_budget_is_spent_and_its_period_over(ledger):
    ledger.create_budget("january", Guarantee(1, 0), START, date(2026, 1, 31))
    first = ledger.charge("stream", "january", Guarantee(1, 0), SPECIFICATION, datetime(2026, 1, 31, 23, 59))
    assert ledger.charge("stream", "january", Guarantee(1, 0), SPECIFICATION, datetime(2027, 1, 1)) == first


def test_another_specification_under_the_same_key_is_refused_with_the_difference(ledger):
    charge(ledger, "stream", 0.3)
    changed = {**SPECIFICATION, "horizon": 60, "extra": None}
    with pytest.raises(LedgerError, match="horizon is 60 now and was 30") as refused:
        ledger.charge("stream", "team", Guarantee(0.3, 0), changed, NOW)
    assert "'stream'" in str(refused.value)
    assert "mechanism" not in str(refused.value)
    assert ledger.budget("team").spent.epsilon == 0.3


def test_a_difference_is_always_named(ledger):
    charge(ledger, "stream", 0.3)
    with pytest.raises(LedgerError, match="extra is None"):
        ledger.charge("stream", "team", Guarantee(0.3, 0), {**SPECIFICATION, "extra": None}, NOW)


@pytest.mark.parametrize(("budget", "epsilon"), [("other", 0.3), ("team", 0.9)])
def test_another_budget_or_amount_under_the_same_key_is_refused(ledger, budget, epsilon):
    ledger.create_budget("other", Guarantee(1, 0), START, None)
    charge(ledger, "stream", 0.3)
    with pytest.raises(LedgerError, match="stream 'stream' was opened with"):
        charge(ledger, "stream", epsilon, budget=budget)


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        (datetime(2026, 1, 31, 23, 59, 59), False),
        (datetime(2026, 2, 1), True),
        (datetime(2026, 2, 28, 23, 59, 59), True),
        (datetime(2026, 3, 1), False),
    ],
)
def test_a_period_is_enforced_on_both_sides(ledger, now, allowed):
    ledger.create_budget("february", Guarantee(1, 0), date(2026, 2, 1), date(2026, 2, 28))
    if allowed:
        assert ledger.charge("stream", "february", Guarantee(0.1, 0), SPECIFICATION, now).budget == "february"
    else:
        with pytest.raises(LedgerError, match=f"covers 2026-02-01 to 2026-02-28, not {now.date()}"):
            ledger.charge("stream", "february", Guarantee(0.1, 0), SPECIFICATION, now)
        assert ledger.charges() == []


def test_a_budget_without_an_end_never_resets(ledger):
    assert ledger.budget("team").period == "from 2026-01-01 on, never reset"
    charge(ledger, "first", 1.0)
    with pytest.raises(BudgetExhausted):
        ledger.charge("later", "team", Guarantee(0.1, 0), SPECIFICATION, NOW + timedelta(days=4000))


def test_budgets_are_made_once(ledger):
    with pytest.raises(LedgerError, match="budget 'team' exists already"):
        ledger.create_budget("team", Guarantee(5, 0), START, None)
    with pytest.raises(ValueError, match="ends on 2025-12-31, before it starts on 2026-01-01"):
        ledger.create_budget("backwards", Guarantee(5, 0), START, date(2025, 12, 31))
    assert ledger.budget("team").cap == Guarantee(1.0, 1e-5)


def test_an_unknown_budget_is_named_beside_the_known_ones(ledger):
    with pytest.raises(LedgerError, match="budget 'missing' does not exist; the ledger has: team"):
        charge(ledger, "stream", 0.1, budget="missing")


def test_everything_survives_a_reopening(place):
    with open_ledger(place) as ledger:
        made = ledger.create_budget("team", Guarantee(1.0, 1e-5), START, date(2026, 12, 31))
        entry = charge(ledger, "stream", 0.3, 1e-6)
        with ledger.transaction():
            ledger.append("stream", "dau", 0, ["a", "b"], "state 1")
            ledger.append("stream", "dau", 2, ["c"], "state 2")
    with open_ledger(place) as ledger:
        assert ledger.charges() == [entry]
        assert entry.charged_at == "2026-03-01T12:30:15"
        assert entry.specification == SPECIFICATION
        standing = ledger.budget("team")
        assert (standing.name, standing.starts, standing.ends, standing.cap) == (
            made.name, made.starts, made.ends, made.cap,
        )  # fmt: skip
        assert standing.spent == Guarantee(0.3, 1e-6)
        assert ledger.releases("stream", "dau") == ["a", "b", "c"]
        assert ledger.releases("stream", "mau") == []
        assert ledger.state("stream", "dau") == "state 2"
        assert ledger.state("stream", "mau") is None


def test_a_transaction_that_fails_leaves_nothing(ledger):
    charge(ledger, "stream", 0.3)

    def append_and_fail() -> None:
        with ledger.transaction():
            ledger.append("stream", "dau", 0, ["a"], "state")
            charge(ledger, "nested", 0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        append_and_fail()
    assert ledger.releases("stream", "dau") == []
    assert ledger.state("stream", "dau") is None
    assert ledger.find_charge("nested") is None
    assert ledger.budget("team").spent.epsilon == 0.3


def test_a_tick_is_released_once(ledger, integrity_error):
    charge(ledger, "stream", 0.3)
    with pytest.raises(LedgerError, match="inside one transaction"):
        ledger.append("stream", "dau", 0, ["a"], "state")
    with ledger.transaction():
        ledger.append("stream", "dau", 0, ["a"], "state")
    with pytest.raises(integrity_error), ledger.transaction():
        ledger.append("stream", "dau", 0, ["another draw"], "another state")
    assert ledger.releases("stream", "dau") == ["a"]
    assert ledger.state("stream", "dau") == "state"


def test_only_the_owner_may_read(path):
    with open_ledger(path) as ledger:
        ledger.create_budget("team", Guarantee(1.0, 1e-5), START, None)
        charge(ledger, "stream", 0.3)
        beside = sorted(path.parent.iterdir())
        assert path in beside
        assert {oct(file.stat().st_mode & 0o777) for file in beside} == {"0o600"}


@pytest.mark.parametrize("content", [b"a text file, long enough to hold no header of a database " * 30, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_refused_and_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.db"), open_ledger(path):
        pass
    assert path.read_bytes() == content


def test_a_database_that_is_no_ledger_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(LedgerError, match="is not a ledger of version 2"), open_ledger(path):
        pass


def test_a_database_that_is_no_ledger_is_left_as_it_was(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError), open_ledger(path):
        pass
    assert path.read_bytes() == before


def test_another_version_is_refused(path):
    with open_ledger(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(LedgerError, match="is not a ledger of version 2"), open_ledger(path):
        pass


def test_a_ledger_keeps_its_name(place, tmp_path, integrity_error):
    with open_ledger(place) as ledger:
        name = ledger.name
        with pytest.raises(integrity_error, match="keeps its name"):
            ledger._connection.execute("UPDATE identity SET name = 'x'")
    with open_ledger(place) as ledger:
        assert ledger.name == name
    (tmp_path / "other").mkdir()
    with open_ledger(place_in(tmp_path / "other")) as other:
        assert other.name != name


def test_a_ledger_of_version_1_gets_a_name_and_keeps_the_rest(path):
    with open_ledger(path) as ledger:
        ledger.create_budget("team", Guarantee(1.0, 1e-6), date(2024, 1, 1), None)
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "DROP TRIGGER identity_stays; DROP TRIGGER identity_remains; DROP TABLE identity; PRAGMA user_version = 1"
        )
    connection.close()
    with open_ledger(path) as ledger:
        assert len(ledger.name) == 16
        assert [budget.name for budget in ledger.budgets()] == ["team"]


def test_paths_that_cannot_be_a_ledger_are_named(tmp_path):
    with pytest.raises(LedgerError, match=r"the folder of the ledger .*missing.* does not exist"):
        open_ledger(tmp_path / "missing" / "ledger.db").__enter__()
    with pytest.raises(LedgerError, match="cannot be opened as a ledger"):
        open_ledger(tmp_path).__enter__()
