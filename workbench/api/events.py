"""The bodies of POST /event and POST /events: parsed at full speed, explained row by row where they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

import msgspec

from dp.presence.daily import day_number
from dp.zones import Zone
from workbench.service import ERASE, Operation, Refused, bad_events
from workbench.service.operations import OPS

NDJSON = "application/x-ndjson"


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as it is sent. Without `day` and `timestamp` it is about today; an erasure has neither."""

    user: str | int
    day: date | None = None
    timestamp: datetime | None = None
    op: Literal["+", "-", "erase"] = "+"


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
    },
}
EXAMPLE_EVENT = {"user": "ann", "day": "2026-01-01"}
EXAMPLES = [EXAMPLE_EVENT, {"user": "bob", "day": "2026-01-01"}, {"user": "ann", "day": "2026-01-01", "op": "-"}]

_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_raw_many = msgspec.json.Decoder(list[msgspec.Raw])


def read_event(body: bytes, zone: Zone, today: date) -> list[Operation]:
    """The operation of a single JSON object.

    Raises:
        Refused: it is none, or not an event.
    """
    try:
        return _operations([_one.decode(body)], zone, today)
    except msgspec.ValidationError as error:
        raise Refused("bad-event", f"the event is not usable: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("bad-event", f"the body is not JSON: {error}") from None


def read_events(body: bytes, content_type: str, zone: Zone, today: date) -> list[Operation]:
    """The operations of a JSON array, or of JSON Lines if `content_type` says so.

    Raises:
        Refused: it is none, or some events are not usable; nothing is taken then, and every fault is named.
    """
    lines = content_type.split(";")[0].strip().lower() == NDJSON
    try:
        events = _one.decode_lines(body) if lines else _many.decode(body)
    except msgspec.ValidationError:
        raise _explained(body, lines) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = "JSON Lines" if lines else "a JSON array of events (JSON Lines need Content-Type: application/x-ndjson)"
        raise Refused("bad-event", f"the body is not {kind}: {error}") from None
    return _operations(events, zone, today)


def _operations(events: Sequence[Event], zone: Zone, today: date) -> list[Operation]:
    found = []
    faults = []
    numbers = _Numbers()
    for index, event in enumerate(events):
        user, day = event.user, event.day
        if not isinstance(user, str):
            user = str(user)
        if event.op == "erase":
            if day is not None or event.timestamp is not None:
                faults.append((index, "an erasure has no day: it takes everything of the user back"))
            found.append(Operation(user, None, ERASE))
            continue
        if event.timestamp is not None:
            if day is not None:
                faults.append((index, "both a day and a timestamp; send one of them"))
            day = zone.day(event.timestamp)
            if day is None:
                faults.append((index, "the timestamp is at the very edge of the calendar"))
        found.append(Operation(user, numbers[day or today], OPS[event.op]))
    if faults:
        raise bad_events(faults)
    return found


class _Numbers(dict[date, int]):
    """Day numbers, worked out once for each day: a request has many events and few days."""

    def __missing__(self, day: date) -> int:
        number = self[day] = day_number(day)
        return number


def _explained(body: bytes, lines: bool) -> Refused:
    """Why events are not usable, one by one."""
    try:
        rows = [line for line in body.split(b"\n") if line.strip()] if lines else _raw_many.decode(body)
    except msgspec.ValidationError:
        return Refused("bad-event", "the body is not a JSON array of events; a single event goes to POST /event")
    faults = []
    for index, row in enumerate(rows):
        try:
            _one.decode(row)
        except msgspec.DecodeError as error:
            faults.append((index, str(error)))
    return bad_events(faults)
