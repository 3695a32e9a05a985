"""What each method of gRPC does: the same as over HTTP, on the same service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from workbench.api.closing import answer_rows, day_or_last, measured_close, measured_fresh, parse_day, published_rows
from workbench.api.entrance import Entrance
from workbench.api.events import EventRules
from workbench.api.intake import Intake
from workbench.api.published import rows_between
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc.calls import REQUEST_KEY, REQUESTS_STORED, Behaviour, Call
from workbench.rpc.messages import add_result, parse_message, read_request, release_of, releases_of
from workbench.service.keyring import ALL_SCOPES
from workbench.service.keys import INGEST, OPERATE, READ

SERVICE = pb.DESCRIPTOR.services_by_name["ActiveUsers"]
"""The description of the methods."""

# Method → the scopes that it needs all of, as the routes of HTTP that do the same. One that is not listed needs every
# scope, and a test finds it.
METHOD_ACCESS: Mapping[str, frozenset[str]] = {
    "Ingest": frozenset({INGEST}),
    "IngestStream": frozenset({INGEST}),
    "CloseDay": frozenset({OPERATE}),
    "EraseUser": frozenset({OPERATE}),
    "DrawFreshRelease": frozenset({OPERATE, READ}),
    "GetRelease": frozenset({READ}),
    "ListReleases": frozenset({READ}),
    "GetAnswer": frozenset({READ}),
    "GetStatus": frozenset({READ}),
}


def method_needs(method: str) -> frozenset[str]:
    """What the table says of a method: every scope where it says nothing."""
    return METHOD_ACCESS.get(method, ALL_SCOPES)


class Facade:
    """The methods on one service; used by one event loop, which nothing that waits for a disk holds up."""

    def __init__(self, entrance: Entrance) -> None:
        self._service = entrance.service
        self._metrics = entrance.metrics
        self._new_id = entrance.new_id
        self._intake = Intake(entrance.service, entrance.metrics)
        self._rules = EventRules.of(entrance.service)

    @property
    def behaviours(self) -> Mapping[str, Behaviour]:
        """Method → what it does."""
        return {
            "Ingest": self._ingest,
            "IngestStream": self._ingest_stream,
            "CloseDay": self._close_day,
            "EraseUser": self._erase_user,
            "DrawFreshRelease": self._draw_fresh_release,
            "GetRelease": self._get_release,
            "ListReleases": self._list_releases,
            "GetAnswer": self._get_answer,
            "GetStatus": self._get_status,
        }

    async def _ingest(self, call: Call) -> None:
        answer = pb.IngestResponse()
        await self._store(call, "Ingest", await call.only(), answer, 0)
        await call.send(answer)

    async def _ingest_stream(self, call: Call) -> None:
        answer, sent, number = pb.IngestResponse(), 0, 0
        call.trailing[REQUESTS_STORED] = "0"
        while (content := await call.receive()) is not None:
            sent += await self._store(call, "IngestStream", content, answer, sent, number)
            number += 1
            call.trailing[REQUESTS_STORED] = str(number)
        await call.send(answer)

    async def _store(
        self, call: Call, method: str, content: bytes, answer: pb.IngestResponse, before: int, number: int | None = None
    ) -> int:
        """Store a request and add to the answer what became of it; returns how many events it has."""
        request = parse_message(pb.IngestRequest, content)
        operates = call.may(OPERATE)
        result = await self._intake.store(
            read_request(request, self._rules), call.request_key(method, content, number), operates=operates,
            partial=request.partial,
        )  # fmt: skip
        add_result(answer, result, before, seq=operates)
        return len(request.events)

    async def _close_day(self, call: Call) -> None:
        request = await call.request(pb.CloseDayRequest)
        day = parse_day(request.day)
        rows = await asyncio.to_thread(measured_close, self._service, self._metrics, day, confirmed=request.confirm)
        await call.send(pb.CloseDayResponse(releases=releases_of(rows)))

    async def _erase_user(self, call: Call) -> None:
        request = await call.request(pb.EraseUserRequest)
        await asyncio.to_thread(self._service.erase, request.user)
        self._metrics.count_erasure()
        await call.send(pb.EraseUserResponse())

    async def _draw_fresh_release(self, call: Call) -> None:
        request = await call.request(pb.DrawFreshReleaseRequest)
        name = call.key or self._new_id()
        day = await asyncio.to_thread(day_or_last, self._service, request.day)
        row = await asyncio.to_thread(measured_fresh, self._service, self._metrics, request.metric, day, name)
        await call.tell(REQUEST_KEY, name)
        await call.send(release_of(row))

    async def _get_release(self, call: Call) -> None:
        request = await call.request(pb.GetReleaseRequest)
        day = await asyncio.to_thread(day_or_last, self._service, request.day)
        await call.send(release_of(await asyncio.to_thread(self._service.release, request.metric, day)))

    async def _list_releases(self, call: Call) -> None:
        request = await call.request(pb.ListReleasesRequest)
        start, end = (parse_day(text) if text else None for text in (request.from_day, request.to_day))
        published = await asyncio.to_thread(published_rows, self._service, request.metric)
        for row in rows_between(published, start, end):
            await call.send(release_of(row))

    async def _get_answer(self, call: Call) -> None:
        request = await call.request(pb.GetAnswerRequest)
        rows = await asyncio.to_thread(answer_rows, self._service, request.question, request.day)
        await call.send(pb.Answer(releases=releases_of(rows)))

    async def _get_status(self, call: Call) -> None:
        await call.request(pb.GetStatusRequest)
        status = await asyncio.to_thread(self._service.status)
        first, last, open_day = (str(day) if day else None for day in (status.first, status.last, status.open_day))
        answer = pb.GetStatusResponse(
            promise=self._service.promise, first_day=first, last_closed_day=last, open_day=open_day,
            operations=status.operations if call.may(OPERATE) else None,
        )  # fmt: skip
        await call.send(answer)
