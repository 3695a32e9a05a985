"""Messages of gRPC as values of the service, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from workbench.api.closing import parse_day
from workbench.api.events import Event, EventRules, Faults, Parsed, judged
from workbench.api.published import table_rows
from workbench.rpc import dpdau_pb2 as pb
from workbench.service import Refused
from workbench.service.errors import MOST_FAULTS
from workbench.service.requests import IngestResult

Received = TypeVar("Received", bound=Message)
OP_OF = {pb.Event.ADD: "+", pb.Event.RETRACT: "-", pb.Event.ERASE: "erase"}
RELEASE_FIELDS = [field.name for field in pb.Release.DESCRIPTOR.fields if field.name != "row"]


def parse_message(kind: type[Received], content: bytes) -> Received:
    """The message that these bytes are.

    Raises:
        Refused: they are none, or it has fields that nobody here would read.
    """
    try:
        message: Received = kind.FromString(content)
    except DecodeError:
        raise Refused("bad-request", f"the request is no {kind.DESCRIPTOR.name}; nothing was stored") from None
    whole = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != whole:
        raise Refused(
            "bad-request",
            f"the request has fields that {kind.DESCRIPTOR.name} of this service does not have; nothing was stored",
        )
    return message


def read_request(request: pb.IngestRequest, rules: EventRules) -> Parsed:
    """The events of a request, explained one by one where they are wrong."""
    named = _Days()
    events: list[Event] = []
    indices: list[int] = []
    faults: Faults = []
    for index, sent in enumerate(request.events):
        try:
            timestamp = _moment(sent) if sent.HasField("timestamp") else None
            events.append(Event(sent.user, named[sent.day], timestamp, OP_OF[sent.op], dict(sent.segments)))  # type: ignore[arg-type]
        except KeyError:
            faults.append((index, f"op is none of {', '.join(pb.Event.Op.keys())}"))
        except ValueError as error:
            faults.append((index, str(error)))
        else:
            indices.append(index)
    return judged(events, indices, faults, rules)


class _Days(dict[str, date | None]):
    """Days as they are written, read once each: a request has many events and few days."""

    def __missing__(self, text: str) -> date | None:
        try:
            day = self[text] = parse_day(text) if text else None
        except Refused as error:
            raise ValueError(str(error)) from None
        return day


def _moment(sent: pb.Event) -> datetime:
    try:
        moment: datetime = sent.timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueError("the timestamp is not between the years 1 and 9999") from None
    return moment


def add_result(answer: pb.IngestResponse, result: IngestResult, before: int, *, seq: bool) -> None:
    """Add what became of a request to the answer.

    Args:
        before: how many events were sent in requests before it.
        seq: whether the caller may know how many operations of all have arrived.
    """
    answer.accepted += result.ingested.accepted
    answer.late += result.ingested.late
    if seq:
        answer.seq = result.ingested.seq
    answer.rejected += result.members.get("rejected", 0)
    for event in result.members.get("events", [])[: MOST_FAULTS - len(answer.events)]:
        answer.events.add(index=before + event["index"], reason=event["reason"])


def release_of(row: str) -> pb.Release:
    """A published row."""
    (named,) = table_rows([row], None, None)
    values = {name: named[name] for name in RELEASE_FIELDS if named.get(name) is not None}
    return pb.Release(row=row, **values)


def releases_of(rows: Iterable[str]) -> list[pb.Release]:
    """Published rows."""
    return [release_of(row) for row in rows]
