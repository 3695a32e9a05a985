"""Salts: which one is in force, where they are kept, and that nothing shows them."""

from __future__ import annotations

import secrets
import stat
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.sketches import salts as module
from dp.sketches.salts import SINCE_EVER, Salt, Salts, create_salts, load_salts, rotate
from tests.examples import examples
from tests.laws import each

DAY = timedelta(days=1)
START = date(2026, 1, 1)
SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "ffffffffffffffff0000000000000000"


def day(number: int) -> date:
    return START + number * DAY


def numbered(*firsts: int) -> Salts:
    """Salts from those days on, counted from START."""
    return Salts(tuple((day(first), Salt(bytes([place]) * 16)) for place, first in enumerate(firsts)))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def without_secrets(error: BaseException) -> str:
    """The error as a log would show it, causes and all."""
    text = "".join(traceback.format_exception(error)).lower()
    assert not any(part in text for part in (SECRET[:8], SECRET[-8:], OTHER[:8]))
    return str(error)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dpdau.salt"


firsts = st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True).map(sorted)


def slowly_in_force(salts: Salts, tick: date) -> Salt | None:
    found = None
    for first, salt in salts.periods:
        if first <= tick:
            found = salt
    return found


def unread(salts: Salts, window: int, valid: Callable[[date], tuple[Salt, ...]]) -> list[tuple[date, date]]:
    """The (day, tick) in 60 days whose window cannot be read, because the day is not recorded under the tick's salt."""
    return [
        (day(number), tick)
        for number in range(60)
        for tick in (day(number + later) for later in range(window))
        if slowly_in_force(salts, tick) not in (None, *valid(day(number)))
    ]


class TestWhichSaltIsInForce:
    @pytest.mark.slow
    @given(firsts, st.integers(0, 60))
    def test_the_latest_that_has_come_into_force(self, firsts, tick):
        salts = numbered(*firsts)
        expected = slowly_in_force(salts, day(tick))
        if expected is None:
            with pytest.raises(ValueError, match=f"no salt is in force on {day(tick)}; the first is so from"):
                salts.in_force(day(tick))
        else:
            assert salts.in_force(day(tick)) is expected

    @given(firsts, st.integers(0, 60), st.integers(1, 31))
    def test_valid_are_those_in_force_on_some_last_day_of_a_window(self, firsts, number, window):
        salts = numbered(*firsts)
        ticks = [slowly_in_force(salts, day(number + later)) for later in range(window)]
        expected = tuple(dict.fromkeys(salt for salt in ticks if salt is not None))
        if expected:
            assert salts.valid(day(number), window) == expected
        else:
            with pytest.raises(ValueError, match=str(day(number))):
                salts.valid(day(number), window)

    @examples(50)
    @given(firsts, st.integers(1, 31))
    def test_every_window_can_be_read_under_one_salt(self, firsts, window):
        salts = numbered(0, *(first + 1 for first in firsts))
        assert unread(salts, window, lambda one: salts.valid(one, window)) == []

    def test_a_twin_that_records_under_the_salt_of_the_day_alone_is_rejected(self):
        salts = numbered(0, 30)
        found = unread(salts, 7, lambda one: (salts.in_force(one),))
        assert {recorded for recorded, _ in found} == {day(number) for number in range(24, 30)}

    def test_two_are_valid_in_the_days_before_a_rotation(self):
        salts = numbered(0, 100)
        two = [number for number in range(200) if len(salts.valid(day(number), 30)) == 2]
        assert two == list(range(71, 100))
        assert all(len(salts.valid(day(number), 1)) == 1 for number in range(200))

    @given(firsts, st.integers(0, 60), st.integers(0, 60))
    def test_changes_are_the_ticks_whose_salt_is_another_than_the_day_before(self, firsts, first, length):
        salts = numbered(0, *(one + 1 for one in firsts))
        ticks = [day(number) for number in range(first + 1, first + length + 1)]
        expected = [tick for tick in ticks if slowly_in_force(salts, tick) is not slowly_in_force(salts, tick - DAY)]
        assert salts.changes(day(first), day(first + length)) == tuple(expected)

    def test_since_ever_and_for_good(self):
        salts = Salts(((SINCE_EVER, Salt(bytes(16))),))
        assert salts.in_force(date.min) == salts.in_force(date.max)
        assert len(salts.valid(date.max, 30)) == len(salts.valid(date.min, 30)) == 1
        assert salts.changes(date.min, date.max) == ()

    def test_a_window_without_days_is_refused(self):
        with pytest.raises(ValueError, match="window is 0"):
            numbered(0).valid(START, 0)


class TestWhatSaltsAre:
    def test_they_do_not_show_themselves(self):
        salt = Salt(bytes.fromhex(SECRET))
        salts = Salts(((START, salt),))
        for shown in (repr(salt), str(salts), f"{salts!r}", salt.fingerprint, salts.fingerprint):
            assert SECRET[:8] not in shown
            assert repr(salt.key) not in shown
        assert salt.fingerprint in repr(salts)

    def test_fingerprints_tell_them_apart(self):
        some = [Salt(number.to_bytes(16, "big")) for number in range(1000)]
        assert {len(salt.fingerprint) for salt in some} == {8}
        assert len({salt.fingerprint for salt in some}) == 1000
        assert Salt(bytes(16)).fingerprint == some[0].fingerprint

    def test_fingerprints_never_change(self):
        # Stored releases name them.
        assert Salt(bytes.fromhex(SECRET)).fingerprint == "43c7988b"
        assert Salts(((START, Salt(bytes.fromhex(SECRET))),)).fingerprint == "ce351d06"

    def test_the_fingerprint_of_all_is_that_of_days_and_salts(self):
        assert len({numbered(0).fingerprint, numbered(1).fingerprint, numbered(0, 5).fingerprint,
                    numbered(0, 6).fingerprint, numbered(0, 5, 6).fingerprint}) == 5  # fmt: skip
        assert numbered(0, 5).fingerprint == numbered(0, 5).fingerprint

    @each("length", [0, 15, 17])
    def test_another_length_is_refused(self, length):
        with pytest.raises(ValueError, match=f"key has {length} bytes"):
            Salt(bytes(length))

    @each(
        ("periods", "message"),
        [
            ((), "no salt"),
            (((START, SECRET), (START, OTHER)), "must ascend"),
            (((START, SECRET), (START - DAY, OTHER)), "must ascend"),
            (((START, SECRET), (START + DAY, OTHER), (START + 2 * DAY, SECRET)), "2026-01-03 is the one from 2026"),
        ],
    )  # fmt: skip
    def test_what_cannot_follow_each_other_is_refused(self, periods, message):
        with pytest.raises(ValueError, match=message) as refused:
            Salts(tuple((first, Salt(bytes.fromhex(key))) for first, key in periods))
        without_secrets(refused.value)


class TestLoading:
    def test_a_file_with_remarks(self, path):
        write(path, f"# ours\n\n2026-01-01 {SECRET}\n  2026-02-01\t{OTHER.upper()}  # after the leak\n")
        salts = load_salts(path, {})
        assert salts.periods == (
            (START, Salt(bytes.fromhex(SECRET))),
            (date(2026, 2, 1), Salt(bytes.fromhex(OTHER))),
        )

    def test_the_environment_goes_before_the_file(self, path):
        write(path, f"2026-01-01 {SECRET}\n")
        assert load_salts(path, {"DPDAU_SALT": f" {OTHER}\n"}).periods == ((SINCE_EVER, Salt(bytes.fromhex(OTHER))),)
        lines = f"2026-01-01 {SECRET}\n2026-02-01 {OTHER}"
        assert load_salts(path, {"DPDAU_SALT": lines}) == load_salts(write(path, lines), {})

    def test_without_a_file(self, path):
        with pytest.raises(FileNotFoundError):
            load_salts(path, {})
        assert load_salts(path, {"DPDAU_SALT": SECRET}).in_force(START).key == bytes.fromhex(SECRET)

    def test_digits_alone_are_in_force_since_ever_and_can_be_rotated(self, path):
        write(path, f"{SECRET}\n")
        before = load_salts(path, {})
        assert before == load_salts(path, {"DPDAU_SALT": SECRET})
        after = rotate(path, date(2026, 3, 1), lambda size: bytes(range(size)))
        assert after == load_salts(path, {})
        assert after.periods[:-1] == before.periods

    @pytest.mark.parametrize("text", ["", "  \n"])
    def test_an_empty_variable_is_refused_and_not_passed_over(self, path, text):
        write(path, f"2026-01-01 {SECRET}\n")
        with pytest.raises(ValueError, match="DPDAU_SALT is set and empty"):
            load_salts(path, {"DPDAU_SALT": text})

    @each(
        "line",
        [
            SECRET, f"{SECRET} 2026-01-01", f"2026-01-01{SECRET}", f"2026-01-01 {SECRET}0", f"2026-01-01 {SECRET[1:]}",
            f"2026-01-01 {SECRET[1:]}g", f"2026-1-1 {SECRET}", f"2026-13-01 {SECRET}", f"2026-02-30 {SECRET}",
            f"2026-01-01 {SECRET} {OTHER}", f"2026-01-01 0x{SECRET[2:]}", f"٢026-01-01 {SECRET}", "2026-01-01",
            f"2026-01-01,{SECRET}", f"\ufeff2026-01-01 {SECRET}",
        ],
    )  # fmt: skip
    def test_a_line_that_is_no_salt_is_named_and_not_shown(self, path, line):
        write(path, f"# first\n{line}\n")
        with pytest.raises(ValueError, match=r"dpdau\.salt, line 2") as refused:
            load_salts(path, {})
        assert "2026-01-31" in without_secrets(refused.value)
        with pytest.raises(ValueError, match=r"^DPDAU_SALT, line 2") as refused:
            load_salts(path, {"DPDAU_SALT": f"# first\n{line}\n"})
        without_secrets(refused.value)

    def test_what_is_no_text_is_refused_without_showing_it(self, path):
        path.write_bytes(b"2026-01-01 \xff" + SECRET.encode() + b"\n")
        path.chmod(0o600)
        with pytest.raises(ValueError, match="line 1") as refused:
            load_salts(path, {})
        without_secrets(refused.value)

    def test_days_that_do_not_ascend_are_refused_with_the_name_of_the_file(self, path):
        write(path, f"2026-02-01 {SECRET}\n2026-01-01 {OTHER}\n")
        with pytest.raises(
            ValueError, match=r"dpdau\.salt: a salt from 2026-01-01 follows one from 2026-02-01"
        ) as refused:
            load_salts(path, {})
        without_secrets(refused.value)

    @each("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
    def test_a_file_that_others_may_use_is_refused(self, path, mode):
        write(path, f"2026-01-01 {SECRET}\n", mode)
        with pytest.raises(ValueError, match=f"has the mode {mode:04o}.*chmod 600"):
            load_salts(path, {})
        with pytest.raises(ValueError, match="chmod 600"):
            rotate(path, date(2026, 2, 1), secrets.token_bytes)
        assert load_salts(path, {"DPDAU_SALT": OTHER}).periods

    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_a_private_file_is_read(self, path, mode):
        assert load_salts(write(path, f"2026-01-01 {SECRET}\n", mode), {}).periods


def all_at_once(count: int, work: Callable[[int], object]) -> list[object]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


class TestCreating:
    def test_a_private_file_with_one_salt_since_ever(self, path):
        salts = create_salts(path, secrets.token_bytes)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [first for first, _ in salts.periods] == [SINCE_EVER]
        assert load_salts(path, {}) == salts
        assert list(path.parent.iterdir()) == [path]

    def test_two_files_have_two_salts(self, tmp_path):
        made = [create_salts(tmp_path / name, secrets.token_bytes) for name in ("one", "two")]
        assert made[0] != made[1]

    def test_a_file_that_is_there_is_left_alone(self, path):
        write(path, f"2026-01-01 {SECRET}\n")
        assert create_salts(path, secrets.token_bytes).in_force(START).key == bytes.fromhex(SECRET)
        assert path.read_text() == f"2026-01-01 {SECRET}\n"

    def test_all_who_make_it_at_once_end_up_with_one_salt(self, path):
        together = threading.Barrier(4)

        def random(count: int) -> bytes:
            together.wait(10)  # nobody goes on before all have seen that there is no file
            return secrets.token_bytes(count)

        made = all_at_once(4, lambda _: create_salts(path, random))
        assert made == [load_salts(path, {})] * 4
        assert list(path.parent.iterdir()) == [path]

    def test_too_little_randomness_leaves_nothing_behind(self, path):
        with pytest.raises(ValueError, match="key has 8 bytes"):
            create_salts(path, lambda count: bytes(count // 2))
        assert list(path.parent.iterdir()) == []

    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            create_salts(tmp_path / "nowhere" / "dpdau.salt", secrets.token_bytes)


class TestRotating:
    def test_a_new_salt_follows(self, path):
        before = create_salts(path, secrets.token_bytes)
        after = rotate(path, START, secrets.token_bytes)
        assert load_salts(path, {}) == after
        assert after.periods[:-1] == before.periods
        assert after.changes(date.min, date.max) == (START,)
        assert after.in_force(START - DAY) == before.in_force(START) != after.in_force(START)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_remarks_and_mode_are_kept_and_a_last_line_without_an_end_too(self, path):
        text = f"# ours\n\n2026-01-01 {SECRET}  # the first"
        write(path, text, 0o400)
        rotate(path, date(2026, 2, 1), lambda count: bytes.fromhex(OTHER))
        assert path.read_text() == f"{text}\n2026-02-01 {OTHER}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o400

    def test_through_a_link(self, path, tmp_path):
        create_salts(path, secrets.token_bytes)
        link = tmp_path / "link"
        link.symlink_to(path)
        rotate(link, START, secrets.token_bytes)
        assert link.is_symlink()
        assert len(load_salts(path, {}).periods) == 2

    @each("first", [START, START - DAY, SINCE_EVER])
    def test_a_day_that_is_not_later_is_refused(self, path, first):
        text = f"2025-06-01 {OTHER}\n2026-01-01 {SECRET}\n"
        write(path, text)
        with pytest.raises(ValueError, match=f"first is {first}; .* after the one in force from 2026-01-01"):
            rotate(path, first, secrets.token_bytes)
        assert path.read_text() == text

    def test_randomness_that_repeats_a_salt_is_refused(self, path):
        write(path, f"2026-01-01 {SECRET}\n")
        with pytest.raises(ValueError, match="every salt is used once") as refused:
            rotate(path, date(2026, 2, 1), lambda count: bytes.fromhex(SECRET))
        without_secrets(refused.value)

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failure_on_the_way_loses_nothing(self, path, monkeypatch, step):
        before = create_salts(path, secrets.token_bytes)

        def fails(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(*((module.os, "fsync") if step == "fsync" else (Path, "replace")), fails)
        with pytest.raises(OSError, match="no space left"):
            rotate(path, START, secrets.token_bytes)
        assert load_salts(path, {}) == before
        assert list(path.parent.iterdir()) == [path]

    def test_no_rotation_is_lost_when_several_are_made_at_once(self, path):
        assert lost_rotations(path, lambda: time.sleep(0.05)) == 0

    def test_without_the_lock_some_would_be(self, path, monkeypatch):
        monkeypatch.setattr(module, "locked", lambda folder: nullcontext())
        together = threading.Barrier(4)
        assert lost_rotations(path, lambda: together.wait(10)) == 3


def lost_rotations(path: Path, pause: Callable[[], object]) -> int:
    """How many of four rotations at once are not in the file; each pauses between reading and writing."""
    create_salts(path, secrets.token_bytes)

    def random(count: int) -> bytes:
        pause()
        return secrets.token_bytes(count)

    def work(number: int) -> Salt | None:
        with suppress(ValueError):  # a later day was first
            return rotate(path, day(number), random).in_force(day(number))
        return None

    made = [salt for salt in all_at_once(4, work) if salt is not None]
    kept = [salt for _, salt in load_salts(path, {}).periods]
    return sum(salt not in kept for salt in made)
