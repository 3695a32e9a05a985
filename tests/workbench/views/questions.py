"""Questions that are answered quickly, one a research page: the law suite of pages runs on them."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np

from workbench.rows import TableRow
from workbench.service import Settings
from workbench.service.question_settings import BreakdownSettings, QuestionSettings
from workbench.views.attacks.research import AttackQuestion
from workbench.views.bundle import table_csv
from workbench.views.coverage.research import CoverageQuestion
from workbench.views.jobs.registry import page_name
from workbench.views.live.agreed import plans_table
from workbench.views.live.research import ANSWERS_FILE, PLANS_FILE, PUBLISHED_FILE, LiveQuestion
from workbench.views.live.table import AnswerRow, PublishedRow
from workbench.views.mechanisms.research import MechanismsQuestion
from workbench.views.plan.research import PlanQuestion
from workbench.views.sketches.research import SketchQuestion
from workbench.views.tradeoff.research import TradeoffQuestion

FIRST = date(2026, 1, 1)
ASKING = Settings(
    horizon=60,
    by={
        "platform": BreakdownSettings(kind="last", values=("ios", "web")),
        "country": BreakdownSettings(kind="any:2", values=("GB", "DE")),
    },
    questions={
        name: QuestionSettings(epsilon=0.5)
        for name in ("mau/flows", "mau/platform", "mau/country", "mau/flows/platform", "week", "week/platform")
    },
)
"""Settings of a service that publishes all kinds of questions."""

LIVE = LiveQuestion(metric="mau", band="all days", week=True, question="mau/platform")

TRADEOFF = TradeoffQuestion(
    metric="mau", unit="user", mechanisms=("gaussian", "damped-square-root"), epsilon=1.0, w_bound=4, delta=1e-6,
    users=1_000, days=30, delete_rate=0.15,
)  # fmt: skip

PLAN = PlanQuestion(
    unit="user-day", epsilon=1.0, delta=1e-6, w_bound=2, horizon=30, expected=(2_000, 5_000, 8_000),
    errors=(20.0, 40.0, 80.0),
)  # fmt: skip

DASHBOARD = msgspec.structs.replace(
    PLAN, flows=("mau",), calendar=("week",), by={"platform": BreakdownSettings(kind="last", values=("ios", "web"))},
)  # fmt: skip

FRONTIER = MechanismsQuestion(
    metric="wau", unit="user-day", epsilon=1.0, delta=1e-6, w_bound=2, horizon=30, users=500
)  # fmt: skip

ATTACK = AttackQuestion(attack="likelihood-ratio", broken=True, mistake="half-flips")
SKETCH = SketchQuestion(sketches=("exact", "hll"), memory=1_024, epsilon=1.0, delta=1e-6, users=200, deletions=0.2)
COVERAGE = CoverageQuestion(
    metric="mau", unit="user", mechanisms=("damped-square-root", "sparse-vector"), epsilon=1.0, w_bound=2, delta=1e-6,
    level=0.95, users=1_000, days=30, delete_rate=0.3,
)  # fmt: skip

QUESTIONS: tuple[msgspec.Struct, ...] = (LIVE, DASHBOARD, TRADEOFF, FRONTIER, COVERAGE, ATTACK, SKETCH)


def published_rows(days: int, noise: float = 0.0) -> list[PublishedRow]:
    """What a service might have published; with noise, the estimates contradict each other."""
    generator = np.random.default_rng(7)
    return [
        PublishedRow(
            metric=metric, window=window, day=(date(2026, 1, 1) + timedelta(days=index)).isoformat(),
            estimate=estimate, ci_low=estimate - 1.96 * (10 + place), ci_high=estimate + 1.96 * (10 + place),
            ci_level=0.95, std=10.0 + place, mechanism="gaussian", unit="user-day", w_bound=2, horizon=365,
            band_low=estimate - 4.0 * (10 + place), band_high=estimate + 4.0 * (10 + place),
        )
        for place, (metric, window) in enumerate({"dau": 1, "wau": 7, "mau": 30}.items())
        for index in range(days)
        for estimate in [float(300 * (place + 1) + 7.31 * (index % 7) + noise * generator.standard_normal())]
    ]  # fmt: skip


def published_answers(days: int, noise: float = 0.0, settings: Settings = ASKING) -> list[AnswerRow]:
    """What the same service might have published of its other questions; so many days each."""
    generator = np.random.default_rng(8)
    last = FIRST + timedelta(days=days - 1)
    return [
        AnswerRow(
            question=series.question, breakdown=series.breakdown, segment=series.segment, day=day.isoformat(),
            estimate=estimate, ci_low=estimate - 40.0, ci_high=estimate + 40.0, band_low=estimate - 80.0,
            band_high=estimate + 80.0,
        )
        for question in settings.asked.values()
        for place, series in enumerate(question.series)
        for day in question.cell.days(FIRST, last)
        for estimate in [40.0 * (1 + place) + noise * float(generator.standard_normal())]
    ]  # fmt: skip


def asked_plans(settings: Settings = ASKING) -> list[TableRow]:
    """What all questions of that service are charged for."""
    return plans_table(settings.requests(FIRST).items())


def write_inputs(question: msgspec.Struct, folder: Path) -> Path:
    """Write the files that a question is answered from; returns the folder."""
    if page_name(question) == "live":
        rows = [msgspec.to_builtins(row) for row in published_rows(20)]
        (folder / PUBLISHED_FILE).write_text(table_csv(rows))
        answers = [msgspec.to_builtins(row) for row in published_answers(20)]
        (folder / ANSWERS_FILE).write_text(table_csv(answers))
        (folder / PLANS_FILE).write_text(table_csv(asked_plans()))
    return folder
