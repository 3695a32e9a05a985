"""The same measurement over gRPC, a call a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc

from workbench.bench.serve import DAY, SendBody, Way
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc.facade import SERVICE


def _body(users: Sequence[str]) -> bytes:
    request = pb.IngestRequest(events=[pb.Event(user=user, day=DAY) for user in users])
    return bytes(request.SerializeToString())


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[SendBody]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ingest = channel.unary_unary(f"/{SERVICE.full_name}/Ingest")

        async def ask(body: bytes) -> None:
            await ingest(body)

        yield ask


GRPC = Way(("--grpc-port", "0"), r"gRPC on port (\d+)", _body, _connected)
