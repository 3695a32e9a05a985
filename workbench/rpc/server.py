"""Serving gRPC beside HTTP: a thread with an event loop of its own, so that neither waits for the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import grpc

from workbench.api.entrance import Entrance
from workbench.rpc.calls import answering
from workbench.rpc.facade import SERVICE, Facade, method_needs
from workbench.service import SettingsError

IDLE_SECONDS = 300
"""A connection without a call ends after so long; clients make a new one by themselves."""


@contextmanager
def serving_rpc(entrance: Entrance, host: str, port: int, patience: float) -> Iterator[int]:
    """Serve gRPC while the block runs; gives the port.

    Args:
        port: 0 for any free one.
        patience: seconds that calls under way may still take when the block ends.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def run() -> None:
        server = _server(entrance)
        try:
            bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            await server.start()
        except BaseException as error:
            started.set_exception(error)
            return
        stopping = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stopping, bound))
        await stopping.wait()
        await server.stop(patience)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="dpdau rpc")
    thread.start()
    try:
        loop, stopping, bound = started.result()
    except RuntimeError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened on for gRPC; choose another --grpc-port (0 takes any free one)"
        ) from error
    try:
        yield bound
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


def _server(entrance: Entrance) -> grpc.aio.Server:
    limits = entrance.limits
    options = {
        "grpc.max_receive_message_length": limits.message_bytes,
        "grpc.max_concurrent_streams": limits.calls,
        "grpc.max_allowed_incoming_connections": limits.connections // 2,
        "grpc.server_handshake_timeout_ms": int(1000 * limits.head_seconds),
        "grpc.max_connection_idle_ms": 1000 * IDLE_SECONDS,
        # Otherwise a second server on the port would take some of its calls.
        "grpc.so_reuseport": 0,
        # A small message that becomes a large one would take more room than it has.
        "grpc.compression_enabled_algorithms_bitset": 1,
    }
    facade = Facade(entrance)
    # Raw streams for all methods, which look alike on the wire: so a caller is judged before its message is read.
    handlers = {
        method: grpc.stream_stream_rpc_method_handler(
            answering(entrance, f"/{SERVICE.full_name}/{method}", method_needs(method), behaviour)
        )
        for method, behaviour in facade.behaviours.items()
    }
    server = grpc.aio.server(options=list(options.items()), maximum_concurrent_rpcs=limits.calls)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    return server
