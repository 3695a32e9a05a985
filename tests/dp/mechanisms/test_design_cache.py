"""Designs on disk: the same as computed ones, and nothing is read that somebody else could have written."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dp.mechanisms import MECHANISMS, design_cache
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import PresenceChange, ProtectedClass, protected_class

WEEK = protected_class("user-day", 7, 2, 60)
LINEAR = [name for name, family in MECHANISMS.items() if family.strategy is not None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in which everything is worth keeping."""
    monkeypatch.setattr(design_cache, "WORTH_KEEPING", -1.0)
    monkeypatch.setenv("DPDAU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def choice(name: str, protected: ProtectedClass = WEEK, *, computed: bool = False) -> design_cache.Choice:
    """The design from the cache, or as if there were none."""
    strategy = MECHANISMS[name].strategy
    assert strategy is not None
    if computed:
        made = strategy(protected)
        return design_cache.Choice(made, made.sensitivity_squared(protected), made.touched(protected))
    return design_cache.choice(name, protected, strategy)


def choose_never(protected: ProtectedClass) -> ToeplitzStrategy:
    raise AssertionError("it is on disk")


choose_never.__module__ = "dp.mechanisms.test"


def kept(name: str, protected: ProtectedClass = WEEK) -> bool:
    """Whether the design is read from disk."""
    try:
        design_cache.choice(name, protected, choose_never)
    except AssertionError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("protected", [WEEK, protected_class("user", 7, 3, 24), protected_class("user", 7, 2, 40)])
def test_a_design_from_disk_is_the_computed_one(name, protected, folder):
    first, second = choice(name, protected), choice(name, protected)
    expected = choice(name, protected, computed=True)
    assert repr(first.strategy) == repr(second.strategy) == repr(expected.strategy)
    assert first[1:] == second[1:] == expected[1:]
    assert [type(field) for field in second] == [type(field) for field in expected]
    assert kept(name, protected) == (name != "honaker-tree")


def test_a_number_is_kept_to_the_last_bit(folder):
    assert design_cache.number("third", WEEK, lambda protected: 1 / 3) == 1 / 3
    assert design_cache.number("third", WEEK, lambda protected: 2.0) == 1 / 3
    assert design_cache.number("other", WEEK, lambda protected: 2.0) == 2.0


def test_numbers_of_changes_of_several_series_are_kept(folder):
    change = PresenceChange((WEEK, WEEK), 2)
    assert design_cache.number("third", change, lambda change: 1 / 3) == 1 / 3
    assert design_cache.number("third", change, lambda change: 2.0) == 1 / 3
    assert design_cache.number("third", dataclasses.replace(change, runs=1), lambda change: 2.0) == 2.0


def test_every_part_of_the_class_and_the_code_belong_to_the_key(folder, monkeypatch):
    choice("damped-square-root")
    for change in ({"runs": 2}, {"hull": 6}, {"horizon": 61}, {"horizon": None}, {"open_ended": True}):
        assert not kept("damped-square-root", dataclasses.replace(WEEK, **change))
    assert kept("damped-square-root")
    monkeypatch.setattr(design_cache, "_code_digest", lambda: "another line")
    assert not kept("damped-square-root")


def test_the_digest_of_the_code_is_the_same_in_every_process():
    code = "from dp.mechanisms import design_cache as c; print(c._code_digest())"
    again = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert again == design_cache._code_digest()


@pytest.mark.parametrize("text", ["", "\n", "{}", "x\n{}", "\n[]", "\xff\n{"])
def test_a_damaged_file_is_computed_again(text, folder):
    expected = choice("damped-square-root")
    (path,) = folder.iterdir()
    path.write_text(text)
    assert not kept("damped-square-root")
    assert choice("damped-square-root") == expected
    assert kept("damped-square-root")


def test_a_changed_digit_is_computed_again(folder):
    choice("damped-square-root")
    (path,) = folder.iterdir()
    digest, text = path.read_text().split("\n")
    content = json.loads(text)
    content["value"]["touched"] += 1
    path.write_text(f"{digest}\n{json.dumps(content)}")
    assert not kept("damped-square-root")


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "Path"},
        {"sensitivity_squared": "nan"},
        {"sensitivity_squared": "-0x1p+0"},
        {"touched": 1.5},
        {"values": {"weights": [0.5]}},
        {"values": {"weights": "import os"}},
        {"values": {}},
    ],
)
def test_what_is_no_design_is_not_taken_for_one(change, folder):
    choice("damped-square-root")
    (path,) = folder.iterdir()
    content = json.loads(path.read_text().split("\n")[1])
    content["value"].update(change)
    design_cache._write(path, content)
    assert not kept("damped-square-root")


def test_the_file_of_another_class_is_not_taken(folder):
    choice("damped-square-root")
    (first,) = folder.iterdir()
    other = dataclasses.replace(WEEK, hull=6)
    choice("damped-square-root", other)
    (second,) = set(folder.iterdir()) - {first}
    first.replace(second)
    assert not kept("damped-square-root", other)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_not_read(mode, folder):
    choice("damped-square-root")
    folder.chmod(mode)
    assert not kept("damped-square-root")
    folder.chmod(0o700)
    assert kept("damped-square-root")


def test_a_file_that_others_can_write_to_or_that_lies_elsewhere_is_not_read(folder, tmp_path):
    choice("damped-square-root")
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o660)
    assert not kept("damped-square-root")
    path.chmod(0o600)
    path.replace(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not kept("damped-square-root")


def test_the_file_of_another_user_is_not_read(folder, monkeypatch):
    choice("damped-square-root")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not kept("damped-square-root")


def test_code_from_elsewhere_is_not_kept(folder):
    def choose(protected: ProtectedClass) -> ToeplitzStrategy:
        return ToeplitzStrategy(())

    assert design_cache.choice("theirs", WEEK, choose).strategy == ToeplitzStrategy(())
    assert not folder.exists()


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path, folder, monkeypatch):
    (tmp_path / "file").touch()
    for value in ("", str(tmp_path / "file"), str(tmp_path / "file" / "cache")):
        monkeypatch.setenv("DPDAU_CACHE", value)
        assert choice("damped-square-root") == choice("damped-square-root", computed=True)
        assert not kept("damped-square-root")


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("DPDAU_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert design_cache._folder() == tmp_path / ".cache" / "dpdau"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert design_cache._folder() == tmp_path / "xdg" / "dpdau"


def test_quick_designs_are_not_written(folder, monkeypatch):
    monkeypatch.setattr(design_cache, "WORTH_KEEPING", 60.0)
    choice("damped-square-root")
    assert not folder.exists()
