"""What the page *Plan* computes: the ε that an accuracy needs, mechanism by mechanism, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from dp.names import DATA_DEPENDENT_MECHANISMS, DEFAULT_MECHANISM, MECHANISMS, METRICS
from workbench.rows import TableRow
from workbench.service.question_settings import BreakdownSettings
from workbench.views.jobs.job import Job, ResearchPage, Tables
from workbench.views.plan.settings import added_up, rounded_down, rounded_up, settings_of

if TYPE_CHECKING:
    from workbench.service import Settings
    from workbench.views.charts import Chart

DOTS = 50
"""Equally likely releases that are drawn."""
ALIKE = 1.001
"""Values of ε whose ratio is less than this are the same; then the simpler mechanism is taken."""
MOST_FACTOR = 1e6
"""Errors that must be larger by more than this have no use."""
LEVEL = 0.95
EVENLY, EQUAL, EQUAL_RELATIVE = "evenly", "equal errors", "equal relative errors"
SPLITS = (EVENLY, EQUAL, EQUAL_RELATIVE)


class PlanQuestion(msgspec.Struct, frozen=True, tag_field="page", tag="plan", forbid_unknown_fields=True, kw_only=True):
    """Which accuracy is wanted, and of what.

    Attributes:
        epsilon: what all series together may take.
        delta: the same; each series gets a third.
        horizon: days.
        expected: expected counts of DAU, WAU and MAU.
        errors: the standard deviation, in users, that a release of each may have at most.
        mechanism: of what is asked besides, as everything below.
        flows: metrics whose flows are asked for.
        calendar: "week", "month".
        by: breakdowns of everything, by name.
        split: how the questions divide ε: "evenly", for "equal errors" or for "equal relative errors".
    """

    unit: str
    epsilon: float
    delta: float
    w_bound: int
    horizon: int
    expected: tuple[int, int, int]
    errors: tuple[float, float, float]
    mechanism: str = DEFAULT_MECHANISM
    flows: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    by: dict[str, BreakdownSettings] = {}
    split: str = EQUAL

    @property
    def asks_more(self) -> bool:
        """Whether anything is asked besides DAU, WAU and MAU."""
        return bool(self.flows or self.calendar or self.by)


def answer_plan(question: PlanQuestion, job: Job) -> Tables:
    """The tables "plan", "total", "settings", "dots" and "mechanisms"; where more is asked, also "dashboard".

    Raises:
        ValueError: a field has an impossible value; the message names it.
        Superseded: see `Job`.
    """
    from workbench.views.jobs.meanwhile import meanwhile
    from workbench.views.plan.dashboard import dashboard_rows

    tried: list[TableRow] = []
    tables: Tables = {}
    more: Tables = {}
    if question.asks_more:
        job.tell("planning the whole dashboard", 0.0, None)
        more = {"dashboard": meanwhile(partial(dashboard_rows, question), partial(job.tell, "planning", 0.0, None))}
    for number, name in enumerate(MECHANISMS):
        # The last part of the time is for what makes everything fit.
        told = partial(job.tell, f"trying {name}", number / (len(MECHANISMS) + 1))
        tried += meanwhile(partial(_needed_rows, question, name), partial(told, None))
        if number >= MECHANISMS.index(DEFAULT_MECHANISM):
            # A good answer already; what follows is found by optimisation, which may take seconds.
            tables = {**_tables(question, tried), **more}
            told(tables)
    if tables["total"][0]["fits"] is False:
        job.tell("looking for errors that fit", len(MECHANISMS) / (len(MECHANISMS) + 1), tables)
        tables["total"][0]["factor"] = meanwhile(
            partial(_factor, question, tables["plan"]), partial(job.tell, "looking for errors that fit", 0.95, None)
        )
    return tables


def _needed_rows(question: PlanQuestion, name: str) -> list[TableRow]:
    """The ε that one mechanism needs for each metric."""
    from dp.accounting.comparison import epsilon_for_deviation

    delta = rounded_down(question.delta / len(METRICS))
    return [
        {
            "metric": metric,
            **asdict(epsilon_for_deviation(name, _class_of(question, metric), error, delta, "max")),
            "target_std": error,
        }
        for metric, error in zip(METRICS, question.errors, strict=True)
    ]


def _class_of(question: PlanQuestion, metric: str) -> Any:
    from dp.units import protected_class

    return protected_class(question.unit, METRICS[metric], question.w_bound, question.horizon)


def _tables(question: PlanQuestion, tried: Sequence[TableRow]) -> Tables:
    rows = [
        _chosen(metric, [row for row in tried if row["metric"] == metric])
        | {"expected": expected, "error": error, "share": None}
        for metric, expected, error in zip(METRICS, question.expected, question.errors, strict=True)
    ]
    if any(row["epsilon"] is None for row in rows):
        total = {"epsilon": None, "delta": None, "epsilon_allowed": question.epsilon, "fits": False, "factor": None}
        return {"plan": rows, "total": [total], "settings": [], "dots": [], "mechanisms": list(tried)}
    pairs = _pairs(question, rows)
    planned, total, dots = _as_served(question, rows, settings_of(pairs))
    settings = [{"name": name, "value": value} for name, value in pairs.items()]
    return {"plan": planned, "total": [total], "settings": settings, "dots": dots, "mechanisms": list(tried)}


def _chosen(metric: str, tried: Sequence[TableRow]) -> TableRow:
    """The mechanism with the least ε: its name, its ε and its δ, as they are written into settings."""
    able = [row for row in tried if row["epsilon"] is not None]
    if not able:
        # What depends on the data says nothing of the accuracy.
        reasons = [row["reason"] for row in tried if row["mechanism"] not in DATA_DEPENDENT_MECHANISMS]
        return {"metric": metric, "mechanism": None, "epsilon": None, "delta": None, "reason": reasons[-1]}
    least = min(row["epsilon"] for row in able)
    best = next(row for row in able if row["epsilon"] <= least * ALIKE)
    return {
        "metric": metric,
        "mechanism": best["mechanism"],
        "epsilon": rounded_up(best["epsilon"]),
        "delta": best["delta"],
        "reason": None,
    }


def _pairs(question: PlanQuestion, rows: Sequence[TableRow]) -> dict[str, str | int | float]:
    """The settings of the service by name. A plan that does not fit needs a larger budget."""
    needed = added_up([row["epsilon"] for row in rows])
    pairs: dict[str, str | int | float] = {
        "horizon": question.horizon,
        "budget_epsilon": max(needed, question.epsilon),
        "budget_delta": question.delta,
    }
    delta = rounded_down(question.delta / len(METRICS))
    for row in rows:
        one = {
            "epsilon": row["epsilon"], "delta": delta, "mechanism": row["mechanism"], "unit": question.unit,
            "w_bound": question.w_bound,
        }  # fmt: skip
        pairs |= {f"{row['metric']}.{name}": value for name, value in one.items()}
    return pairs


def _as_served(
    question: PlanQuestion, rows: Sequence[TableRow], settings: Settings
) -> tuple[list[TableRow], TableRow, list[TableRow]]:
    """The plan with the noise that the service would draw, what all series cost together, and the dots."""
    import numpy as np

    from dp.accounting.composition import basic
    from dp.accounting.guessing import guess_under_all
    from dp.presence.daily import EPOCH
    from dp.release import plan_release

    served = {metric: plan_release(settings.request(metric, EPOCH)).series[0] for metric in settings.series}
    parts = [(one.mechanism, one.guarantee) for one in served.values()]
    total = basic(guarantee for _, guarantee in parts)
    planned: list[TableRow] = []
    dots: list[TableRow] = []
    for row in rows:
        deviations = served[row["metric"]].mechanism.standard_deviation(question.horizon)
        worst = int(deviations.argmax())
        reach = _reach(served[row["metric"]].mechanism, question.horizon, worst)
        planned.append({
            **row,
            "share": row["epsilon"] / total.epsilon,
            "max_std": float(deviations[worst]),
            "rms_std": math.sqrt(float(np.square(deviations).mean())),
            "half_width": reach(LEVEL),
        })  # fmt: skip
        dots += [{"metric": row["metric"], "published": row["expected"] + moved} for moved in _dot_places(reach)]
    return (
        planned,
        {
            "epsilon": added_up([row["epsilon"] for row in rows]),
            "delta": total.delta,
            "epsilon_allowed": question.epsilon,
            "fits": total.epsilon <= question.epsilon * (1 + 1e-12),
            "factor": None,
            "guess": guess_under_all(parts),
        },
        dots,
    )


def _reach(mechanism: Any, horizon: int, day: int) -> Any:
    """From a level to the half width of the interval on one day."""
    import numpy as np

    silent = np.zeros(horizon, dtype=np.int64)
    trials = mechanism.trials(silent, 1, np.random.default_rng(0), LEVEL)
    return lambda level: float(np.broadcast_to(trials.reach(level), (1, horizon))[0, day])


def _dot_places(reach: Any) -> Iterator[float]:
    """How far DOTS equally likely releases lie from the count: the middles of as many equal shares, from below."""
    levels = [(2 * number + 1) / DOTS for number in range(DOTS // 2)]
    widths = [reach(level) for level in levels]
    yield from (-width for width in reversed(widths))
    yield from widths


def _factor(question: PlanQuestion, rows: Sequence[TableRow]) -> float | None:
    """How many times as large all errors must be for the plan to fit; None where no factor helps."""
    from dp.accounting.comparison import epsilon_for_deviation

    if any(row["epsilon"] is None for row in rows):
        return None

    def fits(factor: float) -> bool:
        found = [
            epsilon_for_deviation(
                row["mechanism"], _class_of(question, row["metric"]), row["error"] * factor,
                rounded_down(question.delta / len(METRICS)), "max",
            ).epsilon
            for row in rows
        ]  # fmt: skip
        # None: it needs next to nothing.
        return math.fsum(epsilon or 0.0 for epsilon in found) <= question.epsilon

    high = 2.0
    while not fits(high):
        high *= 2
        if high > MOST_FACTOR:
            return None
    low = high / 2
    while high > low * 1.005:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def plan_charts(question: PlanQuestion, tables: Tables) -> Mapping[str, Chart]:
    """Dots of releases for each metric, and how ε is split; none where no mechanism reaches an error."""
    from workbench.views.plan.chart import dashboard_chart, dots_chart, split_chart

    more = {"dashboard": dashboard_chart(question, tables["dashboard"])} if "dashboard" in tables else {}
    if not tables["dots"]:
        return more
    charts: dict[str, Chart] = {
        f"dots-{row['metric']}": dots_chart(row, [dot for dot in tables["dots"] if dot["metric"] == row["metric"]])
        for row in tables["plan"]
    }
    return {**charts, "split": split_chart(tables["plan"], tables["total"][0]), **more}


PAGE = ResearchPage(PlanQuestion, answer_plan, plan_charts)
