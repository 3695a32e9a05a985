"""Events on their way into the store, over HTTP and gRPC: who may, which are good, and what became of them.

Requests that wait at the same time go to the writer together: one hand-over and one wake-up for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workbench.api.events import Parsed
from workbench.api.metrics import Metrics
from workbench.api.problems import RejectedEvents, rejections
from workbench.service import ERASE, Ingested, Operation, Refused, Service
from workbench.service.requests import IngestResult, RequestKey, Stored, remembered

Waiting = tuple[Sequence[Operation], RequestKey | None, "asyncio.Future[Stored]"]


class Intake:
    """Stores the operations of many requests; used by one event loop."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._waiting: list[Waiting] = []
        self._passing_on: asyncio.Task[None] | None = None

    async def store(
        self, parsed: Parsed, request: RequestKey | None, *, operates: bool, partial: bool = False
    ) -> IngestResult:
        """Store events; returns when they are durable.

        Args:
            operates: whether the caller may erase users.
            partial: whether the good events are to be stored where others are not usable.

        Raises:
            RejectedEvents: an event cannot be right; nothing was stored.
            Refused: an erasure is not allowed, or another request had the same key.
        """
        if not operates and any(operation.op == ERASE for operation in parsed.operations):
            raise Refused("scope-missing", "an erasure needs a key with the scope operate; nothing was stored")
        parsed = parsed.without(self._service.faults(parsed.operations))
        members: dict[str, Any] = {}
        if parsed.faults or partial:
            lines = parsed.lines()
            if not partial:
                raise RejectedEvents(parsed.faults, lines)
            members = rejections(parsed.faults, lines)
        stored = await self._hand_over(parsed.operations, request and replace(request, members=members))
        if isinstance(stored, bytes):
            return remembered(stored)
        self._metrics.count_events(parsed.operations, stored)
        return IngestResult(stored, members)

    async def _hand_over(self, operations: Sequence[Operation], request: RequestKey | None) -> Ingested | bytes:
        """What became of operations, or the answer that the same request was given before."""
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((operations, request, stored))
        if self._passing_on is None or self._passing_on.done():
            self._passing_on = asyncio.create_task(self._pass_on())
        outcome = await stored
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _pass_on(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            batches, requests = [part for part, _, _ in together], [request for _, request, _ in together]
            try:
                outcomes = await asyncio.wrap_future(self._service.submit(batches, requests))
            except Exception as error:
                for _, _, stored in together:
                    if not stored.done():
                        stored.set_exception(error)
                continue
            for (_, _, stored), outcome in zip(together, outcomes, strict=True):
                # Whoever asked may have gone meanwhile.
                if not stored.done():
                    stored.set_result(outcome)
