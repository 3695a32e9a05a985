"""The demonstration: its users come from platforms, and it asks for what they are good for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from workbench import demo
from workbench.service import ADD, Operation, Settings, open_service
from workbench.service.labels import LabelCodes
from workbench.service.question_settings import QuestionSettings


def in_folder(settings: Settings, folder: Path) -> Settings:
    return msgspec.structs.replace(settings, store=str(folder / "store"), ledger=str(folder / "ledger"))


@pytest.mark.slow
def test_a_demonstration_publishes_platforms_flows_and_weeks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "USERS", 300)
    settings = in_folder(demo.of_demonstration(Settings()), tmp_path)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        assert demo.plays(service)
        demo.fill(service, 8, lambda stage, fraction: None)
        published = {name: [json.loads(row) for row in service.answers.rows(name)] for name in settings.asked}
        with service.access.reading() as store:
            counted = store.answers("mau/platform", settings.earliest or 0, None)
        assert service.budget().remaining.epsilon > 0.5
    assert {row["segment"] for row in published["mau/platform"]} == {*demo.PLATFORMS, "other"}
    assert len(published["mau/flows"]) == 3 * 8
    assert [row["day"] for row in published["week"]] == ["2026-01-04"]
    ios, android, web, other = counted[-1]
    assert ios > android > web > 0
    assert other == 0


def test_most_users_come_from_one_platform_and_a_few_from_two() -> None:
    places = [{demo.platform_of(f"user-{user}", day) for day in range(9)} for user in range(2_000)]
    assert {len(one) for one in places} == {1, 2}
    assert 0.02 < sum(len(one) == 2 for one in places) / len(places) < 0.12
    first = [demo.platform_of(f"user-{user}", 1) for user in range(2_000)]
    for name, share in demo.PLATFORMS.items():
        assert first.count(name) / len(first) == pytest.approx(share / 100, abs=0.05)


@pytest.mark.slow
def test_a_store_whose_settings_know_no_platform_is_fed_without(tmp_path: Path) -> None:
    asked = Settings(questions={"week": QuestionSettings(epsilon=0.1)})
    assert demo.of_demonstration(asked).questions == asked.questions
    with open_service(in_folder(demo.of_demonstration(asked), tmp_path), lambda: datetime.now(UTC)) as service:
        service.loading.check(demo.operations_of(date(2026, 1, 1)))
        assert not service.settings.codes.columns
        demo.feed(service, date(2026, 1, 1))
    assert {one.label for one in demo.operations_of(date(2026, 1, 1)) if one.op == ADD} == {0}


def test_the_settings_of_a_demonstration_are_those_of_one() -> None:
    settings = demo.of_demonstration(Settings())
    assert demo.of_demonstration(settings) == settings
    assert demo.with_days(settings) == settings


def test_operations_are_labelled_as_the_service_takes_them_in() -> None:
    """Which may be otherwise than things are set: the next period may be set while days of this one are open."""
    service: Any = SimpleNamespace(codes=LabelCodes(("platform",), (("tv", "web", "ios", "android"),)))
    (one,) = demo._labelled(service, [Operation("ann", 5)])
    assert one.label == service.codes.code_of({"platform": demo.platform_of("ann", 5)})
