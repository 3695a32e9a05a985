"""The log: one line a record, and no id, key or count in it, nor anywhere else that a process writes."""

from __future__ import annotations

import json
import logging
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.patient_http import get
from tests.workbench.test_serving import serving
from workbench.api.logging_json import LineFormatter, log_line
from workbench.service.settings import LogFormat

SECRET = "Zq7-planted-secret"
KEY = "Kx9-planted-key"


def raised(error: Exception, cause: Exception | None = None) -> Any:
    try:
        raise error from cause
    except Exception:
        return sys.exc_info()


def written(log_format: LogFormat, name: str, message: str, *args: object, error: Exception | None = None) -> str:
    info = raised(error, ValueError(SECRET)) if error else None
    record = logging.LogRecord(name, logging.ERROR, "file.py", 1, message, args, info)
    return LineFormatter(log_format).format(record)


def test_a_record_is_one_line_of_json() -> None:
    line = written("json", "dpdau.api", "store or ledger cannot be used", error=sqlite3.OperationalError(SECRET))
    content = json.loads(line)
    assert "\n" not in line
    assert content["message"] == "store or ledger cannot be used"
    assert (content["level"], content["logger"]) == ("error", "dpdau.api")
    assert content["errors"] == ["sqlite3.OperationalError", "builtins.ValueError"]
    assert re.fullmatch(r"test_logging\.py:\d+ raised", content["places"][-1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", content["time"])
    assert json.loads(log_line("json", "Stopped."))["message"] == "Stopped."


def test_sqlite_says_by_its_code_what_is_wrong() -> None:
    try:
        sqlite3.connect("/nowhere/at/all")
    except sqlite3.OperationalError as error:
        line = LineFormatter("json").format(
            logging.LogRecord("dpdau.api", logging.ERROR, "", 1, "x", None, (type(error), error, error.__traceback__))
        )
    assert json.loads(line)["errors"] == ["sqlite3.OperationalError SQLITE_CANTOPEN"]


@each("log_format", ["json", "text"])
@each(
    ("name", "message", "args", "error"),
    [
        ("dpdau.api", "failed", (), KeyError(SECRET)),
        ("uvicorn.error", "Exception in ASGI application\n", (), RuntimeError(SECRET)),
        ("asyncio", f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>", (), None),
        ("foreign", "cannot read %s", (SECRET,), None),
    ],
)
def test_what_exceptions_and_other_packages_say_is_left_out(
    log_format: LogFormat, name: str, message: str, args: tuple[object, ...], error: Exception | None
) -> None:
    line = written(log_format, name, message, *args, error=error)
    assert SECRET not in line
    assert message.splitlines()[0] in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_planted_secrets_are_nowhere(tmp_path: Path, log_format: str) -> None:
    options = ("--no-pages", "--set", f"log_format={log_format}")
    headers = {"Authorization": f"Bearer {KEY}"}
    with serving(tmp_path, *options, key=KEY) as (address, said, process):
        with httpx2.Client(timeout=PATIENCE_SECONDS, base_url=address, headers=headers) as client:
            users = [{"user": f"{SECRET}-{index}", "day": "2026-01-01"} for index in range(1234)]
            client.post("/events", json=users).raise_for_status()
            client.post("/days/2026-01-01/close?confirm=true").raise_for_status()
            client.delete(f"/users/{SECRET}-0").raise_for_status()
            client.get("/mau?fresh=true").raise_for_status()
            answers = [client.get("/metrics").text, client.get("/metrics/published").text, client.get("/config").text]
            (tmp_path / "dpdau.store").rename(tmp_path / "away")
            for response in (
                client.post("/events", json=users),
                client.delete(f"/users/{SECRET}-1"),
                client.get("/mau?fresh=true"),
            ):
                assert response.status_code == 503
                answers.append(response.text)
            (tmp_path / "away").rename(tmp_path / "dpdau.store")
            assert get(f"{address}/config", headers={"Authorization": f"Bearer {KEY}x"}).status_code == 401
            answers += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        said += process.stderr.read()
    answers += [said, *(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())]
    assert len(answers) > 10
    assert not [one[:200] for one in answers if SECRET in one or KEY in one]
    if log_format == "json":
        records = [json.loads(line) for line in said.splitlines()]
        assert [one["message"] for one in records if one["logger"] == "dpdau.closing"] == [
            "a day is closed and published"
        ]
        assert records[-1]["message"] == "Stopped."
        assert not re.search(r"\b1,?23[34]\b", said)
