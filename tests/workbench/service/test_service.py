"""Store, key and ledger belong together, and nothing is drawn twice when one of them is lost or old."""

from __future__ import annotations

import json
import secrets
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dp.accounting.composition import Guarantee
from dp.ledger import BudgetExhausted, Ledger, LedgerError, open_ledger
from tests.oracles.service_model import FIRST, add, day, settings_in
from tests.workbench.service.common import opened
from workbench.service import (
    Refused,
    StoreError,
    key_file,
)
from workbench.service.database import SqliteFile
from workbench.service.opening import open_store


def test_store_key_and_ledger_are_for_their_owner_only(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {"store.db", "store.db.key", "store.db-wal", "store.db-shm", "ledger.db"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert len(settings.key_path.read_bytes()) == 32


def test_only_the_key_that_a_store_was_made_with_opens_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
    key = settings.key_path.read_bytes()
    for wrong, message in ((secrets.token_bytes(32), "not the key"), (key[:31], "31 bytes"), (b"", "0 bytes")):
        settings.key_path.write_bytes(wrong)
        with pytest.raises(StoreError, match=message):
            open_store(settings.store_path, settings.key_path)
    settings.key_path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(settings.store_path, settings.key_path)
    assert not settings.key_path.exists(), "no new key is made for an old store"
    settings.key_path.write_bytes(key)
    with opened(settings) as service:
        assert service.preview(FIRST)["dau"].truth == 1


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.close(day(0))
    (tmp_path / "text").write_text("not a database, but long enough to have a header of one hundred bytes " * 3)
    for path in (tmp_path / "text", settings.ledger_path):
        with pytest.raises(StoreError, match=path.name):
            open_store(path, settings.key_path)
    for store, key in (("no/store.db", "key"), ("store2.db", "no/key")):
        with pytest.raises(StoreError, match="no"):
            open_store(tmp_path / store, tmp_path / key)


def copy_of(path: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in path.parent.glob(path.name + "*")}


def put_back(path: Path, copy: dict[Path, bytes]) -> None:
    for one in path.parent.glob(path.name + "*"):
        one.unlink()
    for one, content in copy.items():
        one.write_bytes(content)


@pytest.mark.parametrize("lost", ["ledger", "old ledger", "old store", "ledger without fresh releases"])
def test_nothing_is_redrawn_when_a_file_is_lost(lost: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
    ledger, store = copy_of(settings.ledger_path), copy_of(settings.store_path)
    with opened(settings) as service:
        if lost != "ledger without fresh releases":
            service.close(day(1))
        service.fresh("dau", day(0), "x")
    newest = copy_of(settings.ledger_path), copy_of(settings.store_path)
    if lost == "old store":
        put_back(settings.store_path, store)
    else:
        put_back(settings.ledger_path, {} if lost == "ledger" else ledger)
    for _ in range(2):
        with pytest.raises(Refused, match=r"missing (or an old copy|or has another name)") as refused, opened(settings):
            pass
        assert refused.value.kind == "other-store"
    put_back(settings.ledger_path, newest[0])
    put_back(settings.store_path, newest[1])
    with opened(settings) as service:
        assert len(service.charges()) == 4


def test_a_ledger_that_is_lost_while_the_service_runs_is_noticed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.close(day(0))
        put_back(settings.ledger_path, {})
        for attempt in (
            lambda: service.close(day(0)),
            lambda: service.close(day(1)),
            lambda: service.fresh("dau", day(0), "y"),
        ):
            with pytest.raises(Refused):
                attempt()
        assert service.status().last == day(0), "nothing was counted"


def test_other_settings_do_not_continue_a_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        published = service.close(day(0))
    for name, value in (
        ("mau__epsilon", 0.6), ("mau__window", 28), ("mau__w_bound", 4), ("wau__mechanism", "square-root"),
        ("dau__unit", "user"), ("horizon", 366), ("budget", "other"), ("ci_level", 0.9),
        ("timezone", "Asia/Tokyo"), ("first_day", "2025-12-31"),
    ):  # fmt: skip
        with (
            pytest.raises(Refused, match=r"set (them|it) back") as refused,
            opened(settings_in(tmp_path, **{name: value})),
        ):
            pass
        assert refused.value.kind == "other-settings"
        assert "--stream" not in str(refused.value)
    with opened(settings_in(tmp_path)) as service:
        assert service.close(day(0)) == published
        assert [budget for budget in service.charges() if budget.budget != "live"] == []


def test_one_store_publishes_to_one_ledger(tmp_path: Path) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, ledger=tmp_path / "other.ledger")
    with opened(one) as left, opened(other) as right:
        left.ingest([add("ann", 0)])
        published = left.close(day(0))
        for index in (0, 1):
            with pytest.raises(Refused) as refused:
                right.close(day(index))
            assert refused.value.kind == "other-store"
        assert right.charges() == []
        assert left.close(day(0)) == published
    with pytest.raises(Refused, match="publishes to another ledger"), opened(other):
        pass


def test_a_store_that_another_ledger_got_first_charges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        charge = service.account.charge

        def overtaken(ledger: Ledger, first: date) -> None:
            charge(ledger, first)
            service._write(lambda store: store.bind("the name of another ledger"))

        monkeypatch.setattr(service.account, "charge", overtaken)
        with pytest.raises(Refused, match="publishes to another ledger"):
            service.close(day(0))
        assert service.charges() == []
        assert service.status().last is None


def test_a_close_cut_off_before_it_is_noted_is_not_taken_up_by_another_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, ledger=tmp_path / "other.ledger")
    with opened(one) as service:
        monkeypatch.setattr(service, "_finish_closes", lambda: None)
        with pytest.raises(Refused, match=r"no day is closed yet|not closed yet"):
            service.close(day(0))
    with pytest.raises(Refused, match="publishes to another ledger"), opened(other):
        pass
    with opened(one) as service:
        assert len(service.close(day(0))) == 3


def test_a_refused_first_close_leaves_nothing_behind(tmp_path: Path) -> None:
    small = settings_in(tmp_path, ledger=tmp_path / "small.ledger", budget_epsilon=0.5)
    with opened(small) as service:
        service.ingest([add("ann", 0)])
        with pytest.raises(BudgetExhausted) as refused:
            service.close(day(0))
        # The whole is asked for, and named.
        assert refused.value.requested == pytest.approx((1.2, 3e-6))
        assert refused.value.budget.spent == (0.0, 0.0)
        assert service.charges() == []
        assert service.budget().spent == (0.0, 0.0)
    with opened(settings_in(tmp_path, ledger=tmp_path / "big.ledger")) as service:
        assert len(service.close(day(0))) == 3


def test_a_budget_of_just_the_sum_is_enough(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.2, budget_delta=3e-6)) as service:
        service.close(day(0))
        assert service.budget().remaining == (0.0, 0.0)


def test_the_promise_names_who_is_protected_by_which_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, mau__unit="user", mau__w_bound=4)) as service:
        assert (
            "retraction, as long as that changes the user's presence at most 2 times (in DAU, WAU)" in service.promise
        )
        assert "a user being frozen after 4 changes of presence (in MAU)" in service.promise


def test_looking_at_a_budget_opens_none(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        assert service.budget().remaining.epsilon == settings.budget_epsilon
        assert service.charges() == []
        assert not settings.ledger_path.exists()
    with opened(settings_in(tmp_path, budget_epsilon=5.0)) as service:
        service.close(day(0))
        assert service.budget().cap.epsilon == 5.0
    with opened(settings_in(tmp_path, budget_epsilon=7.0)) as service:
        assert service.budget().cap.epsilon == 5.0


def test_fresh_releases_may_have_a_budget_of_their_own(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, fresh_budget="more")
    with opened(settings) as service:
        service.close(day(0))
        with pytest.raises(LedgerError, match="'more' does not exist"):
            service.fresh("mau", day(0), "a")
        with open_ledger(settings.ledger_path) as ledger:
            ledger.create_budget("more", Guarantee(0.6, 1e-5), date(2020, 1, 1), None)
        row = json.loads(service.fresh("mau", day(0), "b"))
        assert (row["budget"], row["budget_remaining"]) == ("more", pytest.approx(0.1))
        assert service.budget().spent.epsilon == pytest.approx(1.2)
        assert [budget.name for budget in service.budgets()] == ["live", "more"]
        assert [charge.budget for charge in service.charges()] == ["live", "live", "live", "more"]
        with pytest.raises(BudgetExhausted):
            service.fresh("mau", day(0), "c")


def test_two_stores_share_a_ledger_and_do_not_mix(tmp_path: Path) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, store=tmp_path / "other.db")
    with opened(one) as left, opened(other) as right:
        left.ingest([add(f"u{index}", 0) for index in range(5)])
        rows = left.close(day(0)), right.close(day(0))
        assert rows[0] != rows[1]
        assert (left.truth("dau").counts[0].truth, right.truth("dau").counts[0].truth) == (5, 0)
        assert left.close(day(0)) == rows[0]
        assert right.close(day(0)) == rows[1]
        assert left.budget().spent.epsilon == pytest.approx(2.4)
        with pytest.raises(Refused, match="not closed yet"):
            right.release("dau", day(1))
        left.fresh("dau", day(0), "x")
        assert right.find_fresh("dau", day(0), "x") is None
    with opened(settings_in(tmp_path, store=tmp_path / "third.db")) as third, pytest.raises(BudgetExhausted):
        third.close(day(0))


@pytest.mark.parametrize("left", ["missing", "empty"])
def test_a_store_that_is_gone_is_not_begun_anew(left: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
    content, key = settings.store_path.read_bytes(), settings.key_path.read_bytes()
    settings.store_path.unlink()
    if left == "empty":
        settings.store_path.touch(mode=0o600)
    for _ in range(2):
        with pytest.raises(StoreError, match="put the store back"), opened(settings):
            pass
    assert settings.key_path.read_bytes() == key
    settings.store_path.write_bytes(content)
    with opened(settings) as service:
        assert service.status().last == day(0)
        assert len(service.charges()) == 3


def test_a_process_that_dies_while_it_makes_a_store_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    waiting = settings.key_path.with_name(settings.key_path.name + ".new")
    # Before the store was on disk: the key of a store that never was.
    waiting.write_bytes(secrets.token_bytes(32))
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
    assert not waiting.exists()
    # One that is not the store's own takes nobody's place.
    key = settings.key_path.read_bytes()
    waiting.write_bytes(secrets.token_bytes(32))
    for _ in range(2):
        with opened(settings) as service:
            assert service.status().operations == 1
        assert settings.key_path.read_bytes() == key
    waiting.unlink()
    # After it, and before the key was put in its place.
    settings.key_path.rename(waiting)
    with opened(settings) as service:
        assert service.status().operations == 1
    assert settings.key_path.exists()
    assert not waiting.exists()


def test_a_look_for_damage_keeps_nobody_from_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    with opened(settings):
        pass
    looked: list[bool] = []
    genuine = SqliteFile.damage

    def damage(self: SqliteFile, connection: Any) -> str | None:
        looked.append(connection.connection.driver_connection.in_transaction)
        return genuine(self, connection)

    monkeypatch.setattr(SqliteFile, "damage", damage)
    with opened(settings):
        pass
    assert looked == [False]


def test_the_name_of_a_new_key_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[tuple[Path, bool]] = []
    monkeypatch.setattr(key_file, "sync", lambda path: named.append((path, (tmp_path / "store.db.key").exists())))
    with opened(settings_in(tmp_path)):
        pass
    assert named[-1] == (tmp_path.resolve(), True)
