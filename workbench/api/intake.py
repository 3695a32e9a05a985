"""Requests that wait at the same time go to the writer together: one hand-over and one wake-up for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from workbench.service import Ingested, Operation, Refused, Service
from workbench.service.requests import RequestKey, Stored

Waiting = tuple[Sequence[Operation], RequestKey | None, "asyncio.Future[Stored]"]


class Intake:
    """Stores the operations of many requests; used by one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: list[Waiting] = []
        self._passing_on: asyncio.Task[None] | None = None

    async def store(self, operations: Sequence[Operation], request: RequestKey | None = None) -> Ingested | bytes:
        """Store operations that are checked already; returns when they are durable.

        Returns:
            What became of them, or the answer that the same request was given before.

        Raises:
            Refused: another request had the same key.
        """
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
