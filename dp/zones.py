"""Time zones: one database for everything that asks for a day, the package `tzdata`, never the machine's own."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from importlib.resources import files
from io import BytesIO
from zoneinfo import ZoneInfo

import tzdata

DATABASE_VERSION: str = tzdata.IANA_VERSION
"""The release of the IANA database, such as 2026f."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1) // MICROSECOND
FIRST, LAST = datetime(1899, 12, 30, tzinfo=UTC), datetime(2201, 1, 3, tzinfo=UTC)
"""Changes of an offset are known in between, which covers every day from 1900 to 2200 in every zone."""
_STEP = timedelta(days=7)  # a zone's yearly rule never changes the offset twice within a week


@dataclass(frozen=True)
class Zone:
    """A time zone as a step function from instants to offsets.

    Instants are µs since 1970 in UTC; wall-clock times are µs since 1970 on the clocks of the zone.

    Attributes:
        name: of the zone, as IANA spells it.
        starts: the instants, ascending, from which another offset holds.
        offsets: the offsets in µs: before the first start, and from each start on.
    """

    name: str
    starts: tuple[int, ...]
    offsets: tuple[int, ...]

    @cached_property
    def wall_starts(self) -> tuple[int, ...]:
        """The wall-clock times from which the next offset is the one that a time is read with.

        As zoneinfo has it for fold = 0: a time that clocks show twice is the first of the two, and one that they skip
        is read with the offset before the gap.
        """
        return tuple(
            start + max(before, after)
            for start, before, after in zip(self.starts, self.offsets, self.offsets[1:], strict=False)
        )

    def between(self, first: int, last: int) -> Zone:
        """The same zone with no more than what is right for times between two others, instants or wall-clock times."""
        begin, end = bisect_right(self.starts, first - 2 * DAY), bisect_right(self.starts, last + 2 * DAY)
        return Zone(self.name, self.starts[begin:end], self.offsets[begin : end + 1])

    def wall_time(self, instant: int) -> int:
        """What the clocks show at an instant."""
        return instant + self.offsets[bisect_right(self.starts, instant)]

    def instant(self, wall_time: int) -> int:
        """The instant at which the clocks show a time, as `wall_starts` has it."""
        return wall_time - self.offsets[bisect_right(self.wall_starts, wall_time)]

    def day(self, moment: datetime) -> date | None:
        """The calendar day of a moment; one without an offset is a wall-clock time. None outside the calendar."""
        if moment.tzinfo is None:
            return moment.date()
        number = self.wall_time((moment - EPOCH) // MICROSECOND) // DAY
        try:
            return EPOCH.date() + timedelta(days=number)
        except OverflowError:
            return None


@lru_cache
def zone_named(name: str) -> Zone:
    """The zone of that name.

    Raises:
        ValueError: the database has none.
    """
    if name not in files(tzdata).joinpath("zones").read_text(encoding="utf-8").split():
        raise ValueError(f"timezone = {name!r} is unknown: give an IANA name such as Europe/Berlin or UTC")
    content = files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()
    info = ZoneInfo.from_file(BytesIO(content), key=name)
    starts, offsets = [], [_offset(info, FIRST)]
    for moment in _changes(info, content):
        if FIRST < moment < LAST and _offset(info, moment) != offsets[-1]:
            starts.append((moment - EPOCH) // MICROSECOND)
            offsets.append(_offset(info, moment))
    return Zone(name, tuple(starts), tuple(offsets))


def _offset(info: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(info).utcoffset()
    assert offset is not None
    return offset // MICROSECOND


def _changes(info: ZoneInfo, content: bytes) -> Iterator[datetime]:
    """Every instant at which the offset may change: those that the file lists, then those of its yearly rule."""
    moment = FIRST
    for moment in map(_after_epoch, _listed(content)):
        yield moment
    offset = _offset(info, moment)
    while moment < LAST:
        following = moment + _STEP
        after = _offset(info, following)
        if after != offset:
            yield _first_change(info, moment, following)
        moment, offset = following, after


def _listed(content: bytes) -> tuple[int, ...]:
    """The transition times in a TZif file (RFC 8536): seconds since 1970, in the 64-bit block behind the old one."""
    header = struct.Struct(">4sc15x6l")
    _, _, isutc, isstd, leap, times, types, characters = header.unpack_from(content)
    second = header.size + times * 5 + types * 6 + characters + leap * 8 + isstd + isutc
    times = header.unpack_from(content, second)[5]
    return struct.unpack_from(f">{times}q", content, second + header.size)


def _after_epoch(seconds: int) -> datetime:
    """The moment, no earlier than the calendar allows."""
    return max(FIRST, EPOCH + timedelta(seconds=max(seconds, -(10**10))))


def _first_change(info: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The second at which the offset changes between two moments with different offsets."""
    low, high = 0, (after - before) // timedelta(seconds=1)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(info, before + timedelta(seconds=middle)) == _offset(info, before):
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)
