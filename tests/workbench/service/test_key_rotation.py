"""A new key for the store: everything goes on under it, and the old one opens nothing and links nobody."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from dp.presence.tombstones import pseudonyms
from tests.oracles.service_model import FIRST, add, day, nearly_exact, retract, service_on, settings_in
from tests.oracles.store_contents import arrived, counted, held
from tests.workbench.service.common import METRICS, opened, standing
from tests.workbench.service.test_laws import Action, DisagreementError, Run, Setting, long_stream
from workbench.service import Refused, Settings, StoreError
from workbench.service import key_rotation as module
from workbench.service.backup import back_up
from workbench.service.database import writing
from workbench.service.key_file import PSEUDONYM_KEY_BYTES, hidden_by
from workbench.service.key_rotation import rotate_key
from workbench.service.opening import open_store
from workbench.service.requests import RequestKey

on_both = pytest.mark.usefixtures("database")

USERS = [f"user-{index}" for index in range(50)]


def rotate(settings: Settings) -> None:
    rotate_key(settings.store_place, settings.key_path)


def filled(folder: Path, **changes: object) -> Settings:
    """Users in closed days, waiting, with flips and to come."""
    units = {f"{metric}__unit": "user" for metric in METRICS}
    settings = nearly_exact(folder, first_day=FIRST, **{**units, **changes})
    with opened(settings) as service:
        service.ingest([add(user, 0) for user in USERS])
        service.close(day(0))
        service.ingest([add(user, index % 3) for index, user in enumerate(USERS[:30])])
        service.close(day(1))
        service.ingest([add(user, 2 + index % 3) for index, user in enumerate(USERS[20:])])
    return settings


def names(settings: Settings) -> set[bytes]:
    bounds = sum(bound is not None for bound in settings.bounds.values())
    return {*arrived(settings.store_place), *counted(settings.store_place, bounds, settings.layout.words)} - {bytes(16)}


def keys_of(settings: Settings) -> list[bytes]:
    key = settings.key_path.read_bytes()
    return [key[start : start + PSEUDONYM_KEY_BYTES] for start in range(0, len(key), PSEUDONYM_KEY_BYTES)]


def law(actions: list[Action], setting: Setting, folder: Path, every: int) -> Run:
    """The law of the live service, with a new key after every so many actions."""
    settings = setting.settings(folder)
    run = None
    for start in range(0, len(actions), every):
        with service_on(settings) as service:
            if run is None:
                run = Run(service, setting)
            run.service = service
            for action in actions[start : start + every]:
                run.do(action)
                run.compare_with_replay()
        rotate(settings)
    assert run is not None
    assert settings.key_path.stat().st_size == PSEUDONYM_KEY_BYTES * (2 + (len(actions) - 1) // every)
    return run


@on_both
@pytest.mark.slow
@pytest.mark.parametrize("unit", ["user", "user-day"])
def test_counts_go_on_under_every_new_key(unit: str, tmp_path: Path) -> None:
    run = law(list(long_stream(11, 90)), Setting(unit=unit, bounds=(2, 3, 4)), tmp_path, every=7)
    assert run.closed > 20
    assert run.history.cancelled > 0


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", ["batches", "_sort_users_anew"])
def test_the_law_rejects_a_rotation_that_forgets_something(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = module._each

    def nothing(store, table, *columns):
        return iter(()) if table.name == forgotten else each(store, table, *columns)

    if forgotten == "batches":
        monkeypatch.setattr(module, "_each", nothing)
    else:
        monkeypatch.setattr(module, forgotten, lambda *given: None)
    with pytest.raises(DisagreementError):
        law(list(long_stream(11, 90)), Setting(bounds=(2, 3, 4)), tmp_path, every=7)


@on_both
def test_everything_is_hidden_under_all_keys_in_turn(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    old = pseudonyms(settings.key_path.read_bytes())
    assert names(settings) == set(map(old, USERS))
    for rotations in (1, 2, 3):
        rotate(settings)
        keys = keys_of(settings)
        assert len(keys) == len(set(keys)) == rotations + 1
        wanted = set()
        for user in USERS:
            name = hashlib.blake2b(user.encode(), key=keys[0], digest_size=16).digest()
            for key in keys[1:]:
                name = hashlib.blake2b(name, key=key, digest_size=16).digest()
            assert hidden_by(b"".join(keys))(user) == name
            wanted.add(name)
        assert names(settings) == wanted
    assert settings.key_path.stat().st_mode & 0o777 == 0o600
    assert not settings.key_path.with_name(settings.key_path.name + ".new").exists()


@on_both
def test_no_byte_of_an_old_name_is_left(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    with opened(settings) as service:
        service.submit([[add("zoe", 2)]], [RequestKey("a key", "a digest")]).result()
    old = names(settings)
    assert all(name in held(settings) for name in old)
    hidden = pseudonyms(settings.key_path.read_bytes())("\0key a key").hex().encode()
    assert hidden in held(settings)
    rotate(settings)
    left = held(settings)
    assert not [name for name in (*old, hidden) if name in left]


@on_both
def test_nobody_with_one_of_the_keys_alone_finds_a_user(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    old = settings.key_path.read_bytes()
    rotate(settings)
    found = names(settings)
    for key in (old, keys_of(settings)[1]):
        assert not found & set(map(pseudonyms(key), USERS))
    assert found == set(map(hidden_by(settings.key_path.read_bytes()), USERS))
    for wrong in (old, keys_of(settings)[1], old + bytes(PSEUDONYM_KEY_BYTES), b""):
        settings.key_path.write_bytes(wrong)
        with pytest.raises(StoreError, match=r"is not the key that|has 0 bytes"):
            open_store(settings.store_place, settings.key_path)


@on_both
def test_erasures_and_retried_requests_go_on(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    request = [RequestKey("a key", "a digest")]
    with opened(settings) as service:
        (first,) = service.submit([[add("zoe", 2)]], request).result()
        before = standing(service)
    rotate(settings)
    with opened(settings) as service:
        assert standing(service) == before
        (again,) = service.submit([[add("zoe", 2)]], request).result()
        assert again == b'{"accepted":1,"late":0,"seq":%d}' % first.seq  # type: ignore[union-attr]
        (other,) = service.submit([[add("zoe", 2)]], [RequestKey("a key", "another digest")]).result()
        assert isinstance(other, Refused)
        assert standing(service) == before
        for user in (*USERS, "zoe"):
            service.erase(user)
        service.settled()
        service.close_through(day(5))
        assert [count.truth for count in service.truth("mau").counts][2:] == [0] * 4
        # Whoever left comes back with the flips that were spent.
        service.ingest([add(user, 6) for user in USERS])
        service.close(day(6))
        assert service.truth("mau").counts[-1] == (len(USERS), 0) or service.truth("mau").counts[-1].bounded == 0


@on_both
def test_a_user_who_is_to_leave_leaves_under_the_new_key(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    with (
        closing(open_store(settings.store_place, settings.key_path)) as store,
        writing(store.database, store.connection),
    ):
        store.erase(USERS[25])
    rotate(settings)
    with opened(settings) as service:
        service.settled()
        assert service.preview(day(2))["mau"].truth == len(USERS) - 1
    hide = hidden_by(settings.key_path.read_bytes())
    assert hide(USERS[25]) not in set(arrived(settings.store_place))


@on_both
def test_a_store_that_is_open_is_not_rotated(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    with opened(settings) as service:
        before = standing(service), settings.key_path.read_bytes()
        with pytest.raises(StoreError, match="stop the service"):
            rotate(settings)
        service.ingest([add("zoe", 2), retract("zoe", 2)])
        assert settings.key_path.read_bytes() == before[1]
    rotate(settings)
    assert len(keys_of(settings)) == 2


@on_both
def test_a_service_that_was_open_all_the_same_stores_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = filled(tmp_path)
    with opened(settings) as service:
        arrived_before = service.status().operations
        monkeypatch.setattr(type(service.access._store.database), "alone", lambda self, connection: True)
        rotate(settings)
        for doing in (
            lambda: service.ingest([add("zoe", 2)]),
            lambda: service.erase(USERS[0]),
            lambda: service.submit([[add("zoe", 2)]], [RequestKey("a key", "a digest")]).result(),
        ):
            with pytest.raises(Refused, match="start the service anew") as refused:
                doing()
            assert refused.value.kind == "unavailable"
        assert service.status().operations == arrived_before
        # Days may be closed: that takes no new name.
        service.close(day(2))
    with opened(settings) as service:
        service.ingest([add("zoe", 3)])
        assert service.preview(day(3))["dau"].truth > 0


@on_both
def test_what_an_interrupted_count_has_left_is_counted_again(tmp_path: Path) -> None:
    settings = filled(tmp_path)
    with opened(settings) as service:
        wanted = service.preview(day(2))
    with closing(open_store(settings.store_place, settings.key_path)) as store:
        last, layout = store.progress().last, store.layout()
        assert last is not None
        assert layout is not None
        with writing(store.database, store.connection):
            store.seal(last + 1)
            store.put_parts(last + 1, {0: store.roster(layout, 0, 1)})
    rotate(settings)
    with opened(settings) as service:
        assert {metric: service.truth(metric).counts[2] for metric in METRICS} == wanted


@on_both
def test_a_new_store_is_rotated_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings):
        pass
    rotate(settings)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        assert len(service.close(day(0))) == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_backup_beside_an_interrupted_rotation_can_be_restored(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    settings = filled(folder)

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "hide_again" if when == "before" else "adopt_key", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rotate(settings)
    back_up(settings, tmp_path / "copy")
    copies = settings_in(tmp_path / "copy", store=tmp_path / "copy/dpdau.store", ledger=tmp_path / "copy/dpdau.ledger")
    for chosen in (copies, settings):
        with closing(open_store(chosen.store_place, chosen.key_path)):
            pass
        assert len(keys_of(chosen)) == (1 if when == "before" else 2)
