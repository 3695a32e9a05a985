"""Requests that wait at the same time go to the writer together: one hand-over and one wake-up for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from workbench.service import Ingested, Operation, Service

Waiting = tuple[Sequence[Operation], "asyncio.Future[Ingested]"]


class Intake:
    """Stores the operations of many requests; used by one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: list[Waiting] = []
        self._passing_on: asyncio.Task[None] | None = None

    async def store(self, operations: Sequence[Operation]) -> Ingested:
        """Store operations that are checked already; returns when they are durable."""
        stored: asyncio.Future[Ingested] = asyncio.get_running_loop().create_future()
        self._waiting.append((operations, stored))
        if self._passing_on is None or self._passing_on.done():
            self._passing_on = asyncio.create_task(self._pass_on())
        return await stored

    async def _pass_on(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            try:
                ingested = await asyncio.wrap_future(self._service.submit([part for part, _ in together]))
            except Exception as error:
                for _, stored in together:
                    if not stored.done():
                        stored.set_exception(error)
                continue
            for (_, stored), result in zip(together, ingested, strict=True):
                # Whoever asked may have gone meanwhile.
                if not stored.done():
                    stored.set_result(result)
