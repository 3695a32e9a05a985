"""The bodies of POST /event and POST /events: parsed at full speed, explained row by row where they are wrong.

Reasons name the rule that was broken and never what was sent: answers end in the logs of clients and proxies, where no
user id belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Literal

import msgspec

from dp.presence.daily import day_number
from workbench.service import ERASE, Operation, Refused, Service, UndatedDay
from workbench.service.labels import LabelCodes
from workbench.service.operations import OPS

NDJSON = "application/x-ndjson"
LONGEST_MISSPELLING = 10


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as it is sent. Without `day` and `timestamp` it is about today; an erasure has neither."""

    user: str | int
    day: date | None = None
    timestamp: datetime | None = None
    op: Literal["+", "-", "erase"] = "+"
    segments: dict[str, str] | None = None


EVENT_SCHEMA = {
    "type": "object",
    "required": ["user"],
    "additionalProperties": False,
    "properties": {
        "user": {
            "oneOf": [{"type": "string", "minLength": 1, "maxLength": 512}, {"type": "integer"}],
            "description": "Any text or whole number.",
        },
        "day": {"type": "string", "format": "date", "description": "The day of the activity; today by default."},
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "Instead of day: an ISO 8601 time; an offset is converted to the service's zone.",
        },
        "op": {
            "enum": ["+", "-", "erase"],
            "default": "+",
            "description": "'+' active, '-' that activity is taken back, 'erase' everything of this user goes.",
        },
        "segments": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "In which segments: a value for each column that a breakdown of this service asks for. '-' "
            "takes back what was said with these values; without them, the whole day.",
        },
    },
}
EXAMPLE_EVENT = {"user": "ann", "day": "2026-01-01"}
EXAMPLES = [EXAMPLE_EVENT, {"user": "bob", "day": "2026-01-01"}, {"user": "ann", "day": "2026-01-01", "op": "-"}]

FIELDS = Event.__struct_fields__

_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_raw_many = msgspec.json.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

Faults = list[tuple[int, str]]
"""(place, reason) of what cannot be right."""


@dataclass(frozen=True)
class EventRules:
    """What an event means that does not say all of it.

    Attributes:
        day_of: the day of a time; None at the very edge of the calendar.
        undated: the day of an event without a day and a time; asked only where there is one.
        codes: of what it says of segments.
    """

    day_of: Callable[[datetime], date | None]
    undated: Callable[[], date]
    codes: LabelCodes

    def label_of(self, segments: dict[str, str]) -> int | str:
        """What an event says of segments, or why it cannot say so."""
        try:
            return self.codes.code_of(segments)
        except KeyError:
            # Not the name: it may be anything.
            known = ", ".join(self.codes.columns)
            return f"segments name a column that no question asks for; {known or 'none'} can be named"

    @classmethod
    def of(cls, service: Service) -> EventRules:
        """The rules of a service: its time zone, its clock, and its breakdowns."""
        undated = UndatedDay(service.today, lambda: service.status().last, service.settings.future_days)
        return cls(service.settings.zone.day, undated, service.codes)


@dataclass(frozen=True)
class Parsed:
    """The events of a body: those that are usable, and the others.

    Attributes:
        operations: of the usable events, in their order.
        indices: which events these are.
        faults: (index, reason) of the others.
        json_lines: the body, if it is JSON Lines.
    """

    operations: list[Operation]
    indices: Sequence[int]
    faults: Faults
    json_lines: bytes | None = None

    def without(self, faults: Faults) -> Parsed:
        """The same without operations that cannot be right, given by their places among the operations."""
        if not faults:
            return self
        wrong = dict(faults)
        return Parsed(
            [operation for place, operation in enumerate(self.operations) if place not in wrong],
            [index for place, index in enumerate(self.indices) if place not in wrong],
            sorted([*self.faults, *((self.indices[place], reason) for place, reason in faults)]),
            self.json_lines,
        )

    def lines(self) -> list[int] | None:
        """The line of every event, counted from 1 with blank lines; None if the body is not JSON Lines."""
        return None if self.json_lines is None else [number for number, _ in _rows(self.json_lines)]


def read_event(body: bytes, rules: EventRules) -> Parsed:
    """The operation of a single JSON object.

    Raises:
        Refused: it is none, or not an event.
    """
    try:
        event = _one.decode(body)
    except msgspec.ValidationError as error:
        raise Refused("bad-event", f"nothing was stored: the event is not usable: {_reason(error)}") from None
    except UNREADABLE as error:
        raise Refused("bad-event", f"nothing was stored: the body is not JSON: {_reason(error)}") from None
    return judged([event], [0], [], rules)


def read_events(body: bytes, media_type: str, rules: EventRules) -> Parsed:
    """The events of a JSON array, or of JSON Lines if `media_type` says so.

    Raises:
        Refused: it is neither, so that there is no telling one event from another.
    """
    if media_type == NDJSON:
        return _read_lines(body, rules)
    try:
        events = _many.decode(body)
    except UNREADABLE:
        return _one_by_one(_elements(body), rules)
    return judged(events, range(len(events)), [], rules)


def _read_lines(body: bytes, rules: EventRules) -> Parsed:
    try:
        events = _one.decode_lines(body)
    except UNREADABLE:
        events = None
    # The decoder also takes several values in a line, and one over several lines.
    if events is not None and len(events) == len([row for row in body.split(b"\n") if row and not row.isspace()]):
        return judged(events, range(len(events)), [], rules, body)
    return _one_by_one([row for _, row in _rows(body)], rules, body)


def _rows(body: bytes) -> list[tuple[int, bytes]]:
    """(line, row) of every line that is not blank."""
    return [(number, row) for number, row in enumerate(body.split(b"\n"), 1) if row.strip(b" \t\r")]


def _elements(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return _raw_many.decode(body)
    except msgspec.ValidationError:
        what = "the body is not a JSON array of events; a single event goes to POST /event"
    except UNREADABLE as error:
        what = (
            "the body is not a JSON array of events (JSON Lines need Content-Type: application/x-ndjson): "
            f"{_reason(error)}"
        )
    raise Refused("bad-event", f"nothing was stored: {what}")


def _one_by_one(rows: Sequence[bytes | msgspec.Raw], rules: EventRules, json_lines: bytes | None = None) -> Parsed:
    events, indices, faults = [], [], []
    for index, row in enumerate(rows):
        try:
            events.append(_one.decode(row))
        except UNREADABLE as error:
            faults.append((index, _reason(error)))
        else:
            indices.append(index)
    return judged(events, indices, faults, rules, json_lines)


def judged(
    events: Sequence[Event], indices: Sequence[int], faults: Faults, rules: EventRules, json_lines: bytes | None = None
) -> Parsed:
    """What events mean, and which of them cannot be right.

    Args:
        indices: which events of all that were sent these are.
        faults: (index, reason) of the others.
        json_lines: the body, if it is JSON Lines.
    """
    operations = []
    wrong = []
    numbers = _Numbers()
    today: date | None = None
    for place, event in enumerate(events):
        user, day = event.user, event.day
        if not isinstance(user, str):
            user = str(user)
        if event.op == "erase":
            if day is not None or event.timestamp is not None:
                wrong.append((place, "an erasure has no day: it takes everything of the user back"))
            if event.segments:
                wrong.append((place, "an erasure has no segments: it takes everything of the user back"))
            operations.append(Operation(user, None, ERASE))
            continue
        if event.timestamp is not None:
            if day is not None:
                wrong.append((place, "both a day and a timestamp; send one of them"))
            elif (day := rules.day_of(event.timestamp)) is None:
                wrong.append((place, "the timestamp is at the very edge of the calendar"))
                day = date.min
        elif day is None:
            day = today = today or rules.undated()
        if not event.segments:
            operations.append(Operation(user, numbers[day], OPS[event.op]))
            continue
        label = rules.label_of(event.segments)
        if isinstance(label, str):
            wrong.append((place, label))
            label = 0
        operations.append(Operation(user, numbers[day], OPS[event.op], None, label))
    return Parsed(operations, indices, faults, json_lines).without(wrong)


class _Numbers(dict[date, int]):
    """Day numbers, worked out once for each day: a request has many events and few days."""

    def __missing__(self, day: date) -> int:
        number = self[day] = day_number(day)
        return number


def _reason(error: Exception) -> str:
    """Which rule was broken, without the value that broke it."""
    if isinstance(error, RecursionError):
        return "it is nested far too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    text = str(error)
    if text.startswith("Invalid enum value"):
        return f"op is none of {', '.join(OPS)}"
    if text.startswith("Object contains unknown field"):
        return _unknown_field(text.partition("`")[2].rpartition("`")[0])
    return text


def _unknown_field(name: str) -> str:
    """Names a field only if it is one of ours, misspelt: anything else may be a person's name."""
    known = f"an event has the fields {', '.join(FIELDS)}"
    plain = len(name) <= LONGEST_MISSPELLING and name.isascii() and name.isalpha() and name.islower()
    meant = get_close_matches(name, FIELDS, 1) if plain else []
    return f"there is no field `{name}`: {known}" if meant else f"there is an unknown field: {known}"
