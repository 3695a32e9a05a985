"""The alert rules and the dashboard: they name what /metrics has, and every alert fires and is explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from tests.places import ROOT
from tests.workbench.api.common import close, users

ALERTS = ROOT / "docs/operating/alerts.yml"
DASHBOARD = ROOT / "docs/operating/dashboard.json"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
NAMES = re.compile(r"\b(?:dpdau|process)_[a-z_]+\b")
PROMETHEUS_OWN = {"up"}

with_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

HEALTHY = {
    'up{job="dpdau"}': "1",
    "dpdau_store_usable": "1",
    'dpdau_http_requests_total{route="/events", status="200"}': "0+50",
    'dpdau_http_requests_total{route="/mau", status="409"}': "0+1",
    "dpdau_open_day_age_seconds": "90000",
    "dpdau_horizon_days_left": "+Inf",
    'dpdau_budget{budget="live", parameter="epsilon", part="cap"}': "3",
    'dpdau_budget{budget="live", parameter="epsilon", part="left"}': "1.8",
    "dpdau_disk_free_bytes": "50000000000-1000000",
    "dpdau_writer_queue_jobs": "3",
    'dpdau_http_request_seconds_bucket{route="/events", le="0.05"}': "0+50",
    'dpdau_http_request_seconds_bucket{route="/events", le="1"}': "0+50",
    'dpdau_http_request_seconds_bucket{route="/events", le="+Inf"}': "0+50",
    "dpdau_last_close_duration_seconds": "4",
    "dpdau_store_wal_bytes": "4000000",
}
ILL = {
    "DpdauDown": {'up{job="dpdau"}': "0"},
    "DpdauStoreUnusable": {"dpdau_store_usable": "0"},
    "DpdauNotReady": {'dpdau_http_requests_total{route="/readyz", status="503"}': "0+1"},
    "DpdauFailures": {'dpdau_http_requests_total{route="/events", status="500"}': "0+1"},
    "DpdauDayNotClosed": {"dpdau_open_day_age_seconds": "140000"},
    "DpdauHorizonEnds": {"dpdau_horizon_days_left": "30"},
    "DpdauBudgetLow": {'dpdau_budget{budget="live", parameter="epsilon", part="left"}': "0.2"},
    "DpdauDiskFills": {"dpdau_disk_free_bytes": "50000000000-100000000"},
    "DpdauWriterBehind": {"dpdau_writer_queue_jobs": "150"},
    "DpdauSlow": {'dpdau_http_request_seconds_bucket{route="/events", le="0.05"}': "0+1"},
    "DpdauCloseSlow": {"dpdau_last_close_duration_seconds": "61"},
    "DpdauWalGrows": {"dpdau_store_wal_bytes": "2000000000"},
    "DpdauKeyGuessing": {'dpdau_http_requests_total{route="other", status="401"}': "0+600"},
}


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [rule["expr"] for rule in RULES] + [target["expr"] for panel in panels for target in panel["targets"]]


def served(client: TestClient) -> set[str]:
    """The names of all samples that may come, those of counters without a value too."""
    text = client.get("/metrics").text + client.get("/metrics/published").text
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    histograms = {name + end for name, kind in typed.items() if kind == "histogram" for end in ("_bucket", "_sum")}
    return set(typed) | histograms


def test_every_metric_that_is_named_exists(client: TestClient) -> None:
    named = {name for expression in expressions() for name in NAMES.findall(expression)}
    assert len(named) > 15
    assert named <= served(client)


def test_every_gauge_of_the_service_is_on_the_dashboard(client: TestClient) -> None:
    shown = DASHBOARD.read_text(encoding="utf-8")
    gauges = re.findall(r"^# TYPE (dpdau_\S+) gauge$", client.get("/metrics").text, re.MULTILINE)
    assert len(gauges) > 8
    # A counter's or a histogram's time of creation is no measurement.
    assert [name for name in gauges if not name.endswith("_created") and name not in shown] == []


@pytest.mark.slow
def test_the_vitals_follow_the_service(client: TestClient) -> None:
    def value(name: str) -> float:
        return float(re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)[1])  # type: ignore[index]

    assert str(value("dpdau_open_day_age_seconds")) == "nan"
    assert (value("dpdau_published_days"), value("dpdau_horizon_days_left")) == (0, 365)
    assert value("dpdau_last_close_timestamp_seconds") == 0
    client.post("/events", json=users(20)).raise_for_status()
    close(client, "2026-05-30")
    assert (value("dpdau_published_days"), value("dpdau_horizon_days_left")) == (1, 364)
    # The clock of the test shows noon of 1 June.
    assert value("dpdau_open_day_age_seconds") == 36 * 3600
    assert value("dpdau_last_close_timestamp_seconds") > 0
    assert value("dpdau_last_close_duration_seconds") > 0
    assert value("dpdau_store_bytes") > 0
    assert value("dpdau_disk_free_bytes") > 0
    assert value("dpdau_writer_queue_jobs") == 0
    assert value("process_resident_memory_bytes") > 0


def test_metrics_answer_while_the_store_cannot_be_used(client: TestClient, tmp_path: Path) -> None:
    assert "dpdau_store_usable 1.0" in client.get("/metrics").text
    (tmp_path / "s").rename(tmp_path / "elsewhere")
    assert "dpdau_store_usable 0.0" in client.get("/metrics").text
    (tmp_path / "elsewhere").rename(tmp_path / "s")
    assert "dpdau_store_usable 1.0" in client.get("/metrics").text


@with_promtool
def test_promtool_finds_the_rules_right() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@with_promtool
@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_no_other_does(tmp_path: Path) -> None:
    assert set(ILL) == {rule["alert"] for rule in RULES}
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": _values(text)} for name, text in {**HEALTHY, **ILL.get(ill, {})}.items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": "6h",
                    "alertname": rule["alert"],
                    "exp_alerts": _expected(rule, fires=rule["alert"] == ill),
                }
                for rule in RULES
            ],
        }
        for ill in ["nothing", *ILL]
    ]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def _values(text: str) -> str:
    minutes = 6 * 60
    return f"{text}x{minutes}" if re.fullmatch(r"\d+[+-]\d+", text) else " ".join([text] * (minutes + 1))


def _expected(rule: dict[str, Any], *, fires: bool) -> list[dict[str, Any]]:
    if not fires:
        return []
    own = {"DpdauDown": {"job": "dpdau"}, "DpdauBudgetLow": {"budget": "live", "parameter": "epsilon"}}
    labels = {**own.get(rule["alert"], {}), **rule["labels"]}
    return [{"exp_labels": labels, "exp_annotations": rule["annotations"]}]
