"""Running the service's HTTP face: one process, loopback by default, Streamlit's pages under /ui."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI

from workbench.api.app import create_app
from workbench.api.closing import measured_close
from workbench.api.connections import protocol_of
from workbench.api.limits import LIMITS, Limits
from workbench.api.logging_json import start_logging
from workbench.api.metrics import Metrics
from workbench.api.origins import only_here
from workbench.service import Service, Settings, SettingsError
from workbench.service.keyring import API_KEY, Keyring
from workbench.service.scheduler import scheduled

# Open pages hold websockets; whoever stops the service does not wait for them.
SHUTDOWN_SECONDS = 3
SWITCH_SECONDS = 0.0005
"""A page is drawn by a thread that computes; whoever answers a request meanwhile asks for Python's lock many times."""
LOG = logging.getLogger("dpdau.serving")

Stopped = Callable[[], bool]
"""Says whether the server has been told to stop."""


def serve(
    service: Service, *, api_key: str | None, pages: bool, announce: Callable[[str], None],
    behind: Callable[[Stopped], None] = lambda stopped: None,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM.

    Args:
        api_key: the key of all scopes. Where others than this machine can connect, it or a file of keys is needed.
        pages: whether to mount the Streamlit pages under /ui.
        announce: is told the start-up message when the port is open, unless the log is in JSON.
        behind: what is to be done while the server answers; it is waited for.

    Raises:
        SettingsError: an address that cannot be listened on, or one beyond this machine without a key.
    """
    settings = service.settings
    guarded = _guarded(service, api_key)
    start_logging(settings.log_format)
    metrics = Metrics()
    shown = streamlit_pages(settings, alone=not guarded) if pages else None
    if pages:
        sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(service, api_key=api_key, pages=shown, metrics=metrics)
    with _listening(settings) as listener, _rpc(app, settings) as rpc_port:
        address = _address(listener)
        if settings.log_format == "json":
            LOG.info("listening on %s", address)
            if rpc_port is not None:
                LOG.info("gRPC on port %s", rpc_port)
        else:
            announce(start_message(service, address, pages=pages, api_key=api_key, rpc_port=rpc_port))
        server = server_of(app)

        def stop(number: int, frame: FrameType | None) -> None:
            server.should_exit = True

        # For a signal before Uvicorn listens for them, and because it passes them on when it is done: by default the
        # process would end before the store is closed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        close = functools.partial(measured_close, service, metrics)
        with scheduled(service, lambda: datetime.now(UTC), close), _work_behind(pages, behind):
            server.run(sockets=[listener])


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}; "
                "choose another --port (0 takes any free one)"
            ) from error
        listener.listen(2048)
        yield listener


@contextmanager
def _rpc(app: FastAPI, settings: Settings) -> Iterator[int | None]:
    """Serve gRPC while the block runs, if the settings say so; gives its port."""
    if settings.grpc_port is None:
        yield None
        return
    # What its core writes to standard error by itself, no log of ours has asked for.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from workbench.rpc.server import serving_rpc
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("grpc", "google"):
            raise
        raise SettingsError(
            f"grpc_port is {settings.grpc_port}, and gRPC is not installed: pip install 'dpdau[grpc]', or leave the "
            "setting out"
        ) from error
    with serving_rpc(app.state.entrance, settings.host, settings.grpc_port, SHUTDOWN_SECONDS) as port:
        yield port


def _guarded(service: Service, api_key: str | None) -> bool:
    """Whether there is a key; an address beyond this machine, or a file of keys that is asked for, needs one."""
    settings = service.settings
    if settings.keys and not settings.keys_path.exists():
        raise SettingsError(
            f"keys is {settings.keys!r}, and there is no such file: make a key with 'dpdau keys create', or leave the "
            "setting out"
        )
    guarded = Keyring(settings.keys_path, api_key, service.today).guarded
    if not guarded and not only_here(settings.host):
        raise SettingsError(
            f"host is {settings.host!r}, which others can reach, and there is no key: make one with "
            f"'dpdau keys create', set {API_KEY}, or listen on 127.0.0.1"
        )
    return guarded


def server_of(app: FastAPI, limits: Limits = LIMITS) -> uvicorn.Server:
    """A server of the application. What callers send wrongly is answered and counted; the log is for failures."""
    return uvicorn.Server(
        uvicorn.Config(
            app, http=protocol_of(limits), log_config=None, log_level="error", access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS, lifespan="on",
        )
    )  # fmt: skip


@contextmanager
def _work_behind(pages: bool, behind: Callable[[Stopped], None]) -> Iterator[None]:
    """Finish the start-up in a thread while the server answers, then do the work; both have ended with the block."""
    stopped = threading.Event()

    def work() -> None:
        if pages:
            # The first visitor would wait for them otherwise.
            import workbench.views.live.page
            import workbench.views.operate.page
            import workbench.views.tradeoff.page  # noqa: F401
        # What start-up has made stays: the garbage collector need not look at it for every few thousand events.
        gc.collect()
        gc.freeze()
        if not stopped.is_set():
            behind(stopped.is_set)

    thread = threading.Thread(target=work, name="dpdau behind")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        if pages:
            import streamlit

            # The pages have opened the store for themselves.
            streamlit.cache_resource.clear()


def streamlit_pages(settings: Settings, *, alone: bool) -> Any:
    """The Streamlit pages as an ASGI application; one a process. They open the same store by the same settings.

    Args:
        alone: whether nobody but this machine can see them.
    """
    import streamlit

    script = (Path(__file__).parents[1] / "app.py").resolve()
    chosen = msgspec.json.encode(settings).decode()
    return streamlit.App(script, secrets={"dpdau": {"settings": chosen, "alone": alone}})


def _who_may_call(settings: Settings, api_key: str | None) -> str:
    if not settings.keys_path.exists():
        if api_key:
            return f"{API_KEY} guards all but /healthz."
        return f"No {API_KEY} and no {settings.keys_path}: every program on this machine may read and write."
    both = f"{API_KEY} and the" if api_key else "The"
    return f"{both} keys in {settings.keys_path} guard all but /healthz."


def start_message(
    service: Service, address: str, *, pages: bool, api_key: str | None, rpc_port: int | None = None
) -> str:
    """What a person who starts the service should know."""
    status = service.status()
    days = f"{status.first} to {status.last} closed, {status.open_day} is next" if status.last else "no day closed yet"
    lines = [
        service.promise,
        f"Store {service.settings.store_place}: {status.operations:,} operations arrived, {days}.",
        f"Listening on {address} (interface at {address}/docs" + (f", pages at {address}/ui/)" if pages else ")"),
        *([] if rpc_port is None else [f"gRPC on port {rpc_port}"]),
        _who_may_call(service.settings, api_key),
    ]
    if service.settings.show_truth:
        lines.append("Demonstration: the pages may show true counts, which are NOT PRIVATE.")
    return "\n".join(lines)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
