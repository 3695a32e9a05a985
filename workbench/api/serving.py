"""Running the service's HTTP face: one process, loopback by default, Streamlit's pages under /ui."""

from __future__ import annotations

import functools
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from workbench.api.app import create_app
from workbench.api.closing import measured_close
from workbench.api.guard import only_here
from workbench.api.logging_json import start_logging
from workbench.api.metrics import Metrics
from workbench.service import Service, Settings, SettingsError
from workbench.service.scheduler import scheduled

# Open pages hold websockets; whoever stops the service does not wait for them.
SHUTDOWN_SECONDS = 3
LOG = logging.getLogger("dpdau.serving")

Stopped = Callable[[], bool]
"""Says whether the server has been told to stop."""


def serve(
    service: Service, *, api_key: str | None, pages: bool, announce: Callable[[str], None],
    behind: Callable[[Stopped], None] = lambda stopped: None,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM.

    Args:
        api_key: guards everything but health; needed where others than this machine can connect.
        pages: whether to mount the Streamlit pages under /ui.
        announce: is told the start-up message when the port is open, unless the log is in JSON.
        behind: what is to be done while the server answers; it is waited for.

    Raises:
        SettingsError: an address that cannot be listened on, or one beyond this machine without a key.
    """
    settings = service.settings
    if not api_key and not only_here(settings.host):
        raise SettingsError(
            f"host is {settings.host!r}, which others can reach, and there is no key: set SERVICE_API_KEY, "
            "or listen on 127.0.0.1"
        )
    start_logging(settings.log_format)
    metrics = Metrics()
    shown = streamlit_pages(settings, alone=not api_key) if pages else None
    app = create_app(service, api_key=api_key, pages=shown, metrics=metrics)
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
        if settings.log_format == "json":
            LOG.info("listening on %s", _address(listener))
        else:
            announce(start_message(service, _address(listener), pages=pages, guarded=bool(api_key)))
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="on",
        )
        server = uvicorn.Server(config)

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


def start_message(service: Service, address: str, *, pages: bool, guarded: bool) -> str:
    """What a person who starts the service should know."""
    status = service.status()
    days = f"{status.first} to {status.last} closed, {status.open_day} is next" if status.last else "no day closed yet"
    lines = [
        service.promise,
        f"Store {service.settings.store}: {status.operations:,} operations arrived, {days}.",
        f"Listening on {address} (interface at {address}/docs" + (f", pages at {address}/ui/)" if pages else ")"),
        "SERVICE_API_KEY guards all but /healthz."
        if guarded
        else "No SERVICE_API_KEY: every program on this machine may read and write.",
    ]
    if service.settings.show_truth:
        lines.append("Demonstration: the pages may show true counts, which are NOT PRIVATE.")
    return "\n".join(lines)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
