"""Erasures: what goes, and what stays."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from dp.presence.tombstones import pseudonyms
from tests.oracles.service_model import FIRST, add, day, erasure, retract, settings_in
from tests.oracles.store_contents import every_byte, held, rows_naming
from tests.workbench.service.common import METRICS, opened
from workbench.service import (
    Refused,
    Service,
    StoreError,
)
from workbench.service.store import Store

pytestmark = pytest.mark.usefixtures("database")

GONE = {"arrived": 0, "days": 0, "spent": 0, "leaving": 0}


@pytest.mark.parametrize("way", ["at once", "as an operation", "when it comes due"])
@pytest.mark.parametrize("unit", ["user", "user-day"])
def test_an_erasure_leaves_the_spent_flips_and_no_byte_of_the_id(way: str, unit: str, tmp_path: Path) -> None:
    user = "user-" + secrets.token_hex(40)
    settings = settings_in(tmp_path, **{f"{metric}__unit": unit for metric in METRICS})
    with opened(settings) as service:
        service.ingest([add("bob", 0), *[add(user, index) for index in range(-3, 3)], retract(user, 1)])
        service.close(day(0))
        service.fresh("dau", day(0), "x")
        if way == "at once":
            service.erase(user)
        else:
            service.ingest([erasure(user, at=2 if way == "when it comes due" else None)])
        service.close(day(1))
        service.close(day(2))
        service.settled()
        assert user.encode() not in every_byte(settings), "while the service runs"
        # Where nobody is frozen, no guarantee needs a counter.
        assert rows_naming(settings, user) == {**GONE, "spent": 3 if unit == "user" else 0}
        assert [count.truth for count in service.truth("mau").counts][-1] == 1
        assert rows_naming(settings, "bob") == {**GONE, "days": 1, "spent": 3 if unit == "user" else 0}
    assert user.encode() not in every_byte(settings)


def test_who_is_to_leave_counts_no_more_before_the_rows_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("bob", 0)])
        service.close(day(0))
        service.ingest([add("ann", 1), add("ann", 3), add("bob", 1)])
        monkeypatch.setattr(service, "_leavers", Idle())
        service.erase("ann")
        assert rows_naming(settings, "ann") == {**GONE, "arrived": 2, "days": 1, "leaving": 1}
        assert [service.preview(day(1))[metric].truth for metric in METRICS] == [1, 1, 1]
        assert round(json.loads(service.fresh("mau", day(0), "x"))["estimate"]) is not None
        service.close(day(1))
        assert rows_naming(settings, "ann") == GONE, "a close does not go on without it"
        assert [count.truth for count in service.truth("mau").counts] == [2, 1]


def test_what_a_process_left_to_do_is_done_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        leavers, service._leavers = service._leavers, Idle()
        leavers.stop()
        service.erase("ann")
    assert rows_naming(settings, "ann") == {**GONE, "arrived": 1, "leaving": 1}
    with opened(settings):
        pass
    assert rows_naming(settings, "ann") == GONE


class Idle:
    """Lets nobody leave."""

    def wake(self) -> None:
        pass

    def stop(self) -> None:
        pass


def test_an_id_is_in_no_byte_before_an_erasure_either(tmp_path: Path) -> None:
    settings, user = settings_in(tmp_path), "user-" + secrets.token_hex(40)
    with opened(settings) as service:
        service.ingest([add(user, 0)])
        service.preview(day(0))
        assert user.encode() not in every_byte(settings)
        with pytest.raises(Refused):
            service.ingest([add(user, 0), add("", 0)])
        assert user not in repr(service.recent())


def test_whoever_an_operation_names_is_erased_like_by_the_id(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("bob", 0), add("ann", 0)])
        service.close(day(0))
        service.ingest([add("bob", 1), add("ann", 0), add("ann", -1)])
        last = service.recent()[0]
        service.erase_whom(last.seq)
        service.settled()
        assert rows_naming(settings, "ann") == GONE
        assert rows_naming(settings, "bob") == {**GONE, "arrived": 1, "days": 1}
        arrived = service.status().operations
        for gone in (last.seq, 1, arrived, arrived + 1, 0):
            with pytest.raises(StoreError, match=f"operation {gone} names nobody"):
                service.erase_whom(gone)
        assert service.status().operations == arrived
        service.close(day(1))
        assert [count.truth for count in service.truth("mau").counts] == [2, 1]


def test_an_erasure_to_come_outlives_one_at_once(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, first_day=FIRST)) as service:
        service.ingest([add("ann", 0), erasure("ann", at=2)])
        service.erase("ann")
        service.ingest([add("ann", 1)])
        service.close_through(day(2))
        assert [count.truth for count in service.truth("mau").counts] == [0, 1, 0]


def test_erasing_a_stranger_changes_no_count(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        service.erase("bob")
        service.settled()
        assert service.preview(day(0))["mau"].truth == 1


def test_a_batch_is_carried_out_in_its_order(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0), erasure("ann"), add("bob", 0), erasure("bob"), add("bob", 0)])
        assert service.preview(day(0))["dau"].truth == 1
        service.ingest([erasure("bob"), erasure("bob"), add("cem", 0), add("ann", 0), erasure("cem"), erasure("ann")])
        assert service.preview(day(0))["dau"].truth == 0


class KilledError(BaseException):
    """In place of a kill: nobody catches it."""


def dies_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The next call of this method of a store ends what was going on."""
    genuine = getattr(Store, name)

    def deadly(*given: object, **named: object) -> None:
        monkeypatch.setattr(Store, name, genuine)
        raise KilledError

    monkeypatch.setattr(Store, name, deadly)


def second_close_dies(service: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ann is there on both days, Bob on the first; the second close ends at this method of the store."""
    service.ingest([add("ann", 0), add("bob", 0)])
    service.close(day(0))
    service.ingest([add("ann", 1)])
    dies_once(monkeypatch, name)
    with pytest.raises(KilledError):
        service.close(day(1))


def test_who_leaves_while_a_count_fails_is_gone_when_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, first_day=FIRST, fresh_budget="", budget_epsilon=10)
    with opened(settings) as service:
        second_close_dies(service, monkeypatch, "commit_day")
        # The day is sealed: it is counted with her, and nothing after it.
        service.erase("ann")
        service.settled()
        service.close(day(1))
        assert [count.truth for count in service.truth("mau").counts] == [2, 2]
        assert service.preview(day(2))["mau"].truth == 1
        service.settled()
        assert rows_naming(settings, "ann") == GONE


def test_what_a_killed_close_left_behind_names_nobody_who_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as service:
        second_close_dies(service, monkeypatch, "clean")
        service.erase("ann")
        service.settled()
        name = pseudonyms(settings.key_path.read_bytes())("ann")
        assert name not in held(settings)


def test_a_first_day_that_is_taken_back_loses_no_erasure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(settings_in(tmp_path, first_day=day(30))) as service:
        service.ingest([add("ann", 0), add("zoe", 0), add("bob", 0)])
        leavers, service._leavers = service._leavers, Idle()
        leavers.stop()
        service.erase("ann")
    settings = settings_in(tmp_path)
    monkeypatch.setattr("workbench.service.service.Leavers", lambda *given: Idle())
    with opened(settings) as service:
        service.erase("zoe")
        assert service.recent()[0].counts_from is None
        service.close(day(0))
        assert rows_naming(settings, "ann")["leaving"] == 1
        service.settled()
        assert rows_naming(settings, "ann") == rows_naming(settings, "zoe") == GONE
        assert rows_naming(settings, "bob") == {**GONE, "arrived": 1}, "he counts from the day that was first then"


def test_a_day_left_half_counted_is_counted_by_the_settings_it_was_charged_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = {f"{metric}__unit": "user" for metric in METRICS}
    settings = settings_in(tmp_path, first_day=FIRST, **units)
    with opened(settings) as service:
        for index in range(4):
            service.ingest([add("ann", index) if index % 2 == 0 else retract("ann", index - 1)])
            if index < 3:
                service.close(day(index))
        dies_once(monkeypatch, "commit_day")
        with pytest.raises(KilledError):
            service.close(day(3))
    for other in ({"dau__w_bound": 5}, {f"{metric}__unit": "user-day" for metric in METRICS}, {"mau__window": 28}):
        with pytest.raises(Refused) as refused, opened(settings_in(tmp_path, first_day=FIRST, **{**units, **other})):
            pass
        assert refused.value.kind == "other-settings"
    with opened(settings) as service:
        counts = service.truth("dau").counts
        assert [(count.truth, count.bounded) for count in counts] == [(1, 1), (0, 0), (1, 0), (0, 0)]
