"""Salts: the secret keys of the users' hashes, where they are kept, and how they are rotated.

A file has one line per salt, with the first day on which it is in force and its 32 hexadecimal digits:

    2026-01-01 <32 hexadecimal digits>   # comments and empty lines are allowed

or just 32 digits, for a salt that has always been in force.
A window of days is read under one salt, the one in force on its last day. For window − 1 days before a rotation there
are therefore two salts under which a day's activity must be recorded (`Salts.valid`). No salt is ever shown: messages
name the line, and people compare fingerprints.
"""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from dp.private_files import locked, new_private, read_private
from dp.sketches.keys import KEY_BYTES, derived_key, validate_key

VARIABLE = "DPDAU_SALT"
SINCE_EVER = date.min

_LINE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ \t]+([0-9a-fA-F]{32})")
_ALONE = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class Salt:
    """A secret key of 16 bytes, which its representation does not show."""

    key: bytes

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: the key has another length.
        """
        validate_key(self.key)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that name the salt and reveal nothing of it."""
        return derived_key(self.key, "fingerprint")[:4].hex()

    def __repr__(self) -> str:
        return f"Salt({self.fingerprint})"


@dataclass(frozen=True)
class Salts:
    """Salts, one after the other.

    Attributes:
        periods: each salt with the first day on which it is in force, ascending.
    """

    periods: tuple[tuple[date, Salt], ...]

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: there is no salt, the days do not ascend, or a salt occurs twice.
        """
        if not self.periods:
            raise ValueError("there is no salt; give at least one")
        for (earlier, _), (later, _) in pairwise(self.periods):
            if later <= earlier:
                raise ValueError(f"a salt from {later} follows one from {earlier}; days must ascend")
        known: dict[bytes, date] = {}
        for first, salt in self.periods:
            if salt.key in known:
                raise ValueError(f"the salt from {first} is the one from {known[salt.key]}; every salt is used once")
            known[salt.key] = first

    def in_force(self, tick: date) -> Salt:
        """The salt under which the windows that end on that day are read.

        Raises:
            ValueError: the first salt comes later.
        """
        return self.valid(tick, 1)[0]

    def valid(self, day: date, window: int) -> tuple[Salt, ...]:
        """The salts under which that day's activity must be recorded, ascending.

        They are those in force on some tick in [day, day + window − 1], the last days of the windows with this day.

        Args:
            day: a day of activity; it may lie before the first salt if a window that contains it ends later.
            window: length of a trailing window in days.

        Raises:
            ValueError: the window is empty, or the first salt comes after all of these ticks.
        """
        if window < 1:
            raise ValueError(f"window is {window}; it must have at least one day")
        firsts = [first for first, _ in self.periods]
        begin = max(bisect_right(firsts, day) - 1, 0)
        salts = tuple(salt for first, salt in self.periods[begin:] if (first - day).days < window)
        if not salts:
            raise ValueError(f"no salt is in force on {day}; the first is so from {firsts[0]} on")
        return salts

    def changes(self, first: date, last: date) -> tuple[date, ...]:
        """The ticks after `first`, up to and including `last`, at which another salt comes into force, ascending."""
        return tuple(start for start, _ in self.periods if first < start <= last)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that name all salts with their days."""
        named = "\n".join(f"{first} {salt.key.hex()}" for first, salt in self.periods)
        return blake2b(named.encode(), digest_size=4, person=b"dpdau salts").hexdigest()


def load_salts(path: Path, environment: Mapping[str, str]) -> Salts:
    """The salts in the variable DPDAU_SALT if it is set, those in the file otherwise.

    Args:
        path: a file that only its owner can read.
        environment: the variable has the format of such a file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: others may read the file, or a line is not a salt; the message names file and line.
    """
    if VARIABLE not in environment:
        return _parse(read_private(path, "salts"), str(path))
    if not environment[VARIABLE].strip():
        raise ValueError(f"{VARIABLE} is set and empty; unset it, or give it a salt")
    return _parse(environment[VARIABLE], VARIABLE)


def create_salts(path: Path, random: Callable[[int], bytes]) -> Salts:
    """The salts in the file; where there is none, it is made with one salt that has always been in force.

    The file appears complete or not at all, and if several processes make it at once, all get the salt of one of them.

    Args:
        path: of the file, which only its owner can read.
        random: from a number to that many secret random bytes, for instance `secrets.token_bytes`.

    Raises:
        OSError: the file can be neither made nor read.
        ValueError: see `load_salts`.
    """
    if not path.exists():
        with new_private(path, _line(SINCE_EVER, Salt(random(KEY_BYTES)))) as made, suppress(FileExistsError):
            os.link(made, path)
    return load_salts(path, {})


def rotate(path: Path, first: date, random: Callable[[int], bytes]) -> Salts:
    """Append a new salt that is in force from the day `first` on; returns all salts.

    The file is replaced in one step and keeps its mode; a second process waits for the first.

    Raises:
        OSError: the file cannot be read or replaced.
        ValueError: another salt comes into force on that day or later; or see `load_salts`.
    """
    target = path.resolve()
    with locked(target.parent):
        text = read_private(target, "salts")
        salts = _parse(text, str(path))
        latest = salts.periods[-1][0]
        if first <= latest:
            raise ValueError(f"first is {first}; a new salt must come after the one in force from {latest} on")
        added = Salt(random(KEY_BYTES))
        rotated = Salts((*salts.periods, (first, added)))
        with new_private(target, _dated(text).rstrip("\n") + "\n" + _line(first, added)) as made:
            made.chmod(stat.S_IMODE(target.stat().st_mode))
            made.replace(target)
    return rotated


def _line(first: date, salt: Salt) -> str:
    return f"{first} {salt.key.hex()}\n"


def _dated(text: str) -> str:
    """The text, with a day added if it is a salt and nothing else."""
    alone = text.strip()
    return f"{SINCE_EVER} {alone}" if _ALONE.fullmatch(alone) else text


def _parse(text: str, source: str) -> Salts:
    periods = []
    for number, line in enumerate(_dated(text).splitlines(), start=1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = _LINE.fullmatch(words)
        if match is None:
            raise ValueError(f"{source}, line {number} is no salt; write 2026-01-31 and 32 hexadecimal digits")
        try:
            periods.append((date.fromisoformat(match[1]), Salt(bytes.fromhex(match[2]))))
        except ValueError:
            raise ValueError(f"{source}, line {number}: {match[1]} is no day; write it as 2026-01-31") from None
    try:
        return Salts(tuple(periods))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
