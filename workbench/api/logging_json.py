"""The log of a serving process: a line a record, in JSON or as text, without ids, keys or counts.

What an exception says may hold a user's id or a value, so only its type and its place are written. Messages of other
packages may hold what an exception says, so only their first line is written, before anything is filled in.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from traceback import walk_tb
from typing import Any

from workbench.service.settings import LogFormat

OWN = "dpdau"
PLACES = 8
"""Innermost frames that are written."""


class LineFormatter(logging.Formatter):
    """Writes a record as one line."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._format = log_format

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if (day := getattr(record, "day", None)) is not None:
            content["day"] = str(day)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            content |= {"errors": [_kind(one) for one in _causes(error)], "places": _places(error)}
        if self._format == "json":
            return json.dumps(content)
        told = [f"{name}: {value}" for name, value in content.items() if name in ("day", "errors", "places")]
        return " ".join([content["time"], content["level"].upper(), f"{record.name}:", content["message"], *told])


def log_line(log_format: LogFormat, message: str) -> str:
    """One line of the log about the process itself."""
    return LineFormatter(log_format).format(logging.LogRecord(OWN, logging.INFO, "", 0, message, None, None))


def start_logging(log_format: LogFormat) -> None:
    """Write the log of this process to standard error: warnings, and in JSON also what goes as it should."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(log_format))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(OWN).setLevel(logging.INFO if log_format == "json" else logging.WARNING)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            logging.getLogger(OWN).critical("a thread has died", exc_info=args.exc_value)

    threading.excepthook = in_thread


def _message(record: logging.LogRecord) -> str:
    own = record.name.split(".")[0] == OWN
    lines = (record.getMessage() if own else str(record.msg)).splitlines()
    return lines[0] if lines else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _kind(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    code = getattr(error, "sqlite_errorname", None) if isinstance(error, sqlite3.Error) else None
    return f"{name} {code}" if code else name


def _places(error: BaseException) -> list[str]:
    frames = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    return [f"{Path(code.co_filename).name}:{line} {code.co_name}" for code, line in frames[-PLACES:]]
