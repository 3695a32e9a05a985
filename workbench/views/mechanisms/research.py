"""What the page *Mechanisms* computes: error, memory and time of each at one budget, and a few of its releases."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dp.names import DEFAULT_MECHANISM, MECHANISMS, METRICS
from experiments.engine.places import RESULTS
from workbench.rows import TableRow
from workbench.views.axes import POPULATION_SEED
from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from dp.log import Log
    from dp.mechanisms.protocol import Trials
    from dp.release import Plan
    from dp.units import ProtectedClass
    from workbench.views.charts import Chart

BENCH = "bench_mechanisms.json"
"""Committed table of processor times, from `make bench`."""

RELEASES = 3
"""Releases that are drawn."""
TRIALS = 100
"""Behind the error of mechanisms whose error depends on the data."""
SEED = 20260110
RATES = {"delete_rate": 0.15, "erase_rate": 0.02, "late_rate": 0.05}
"""Of the generated population; those of the experiment mechanism_frontier."""
LEVEL = 0.95
MOST_DAYS = 4096
KEPT = (
    "mechanism", "noise", "sensitivity", "sigma", "rms_std", "max_std", "memory", "draws_per_tick", "proof", "source",
)  # fmt: skip


class MechanismsQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="mechanisms", forbid_unknown_fields=True, kw_only=True
):
    """At which budget mechanisms are compared, for whom, and on which population their releases are drawn.

    Attributes:
        epsilon: of the whole series.
        delta: of the whole series.
        horizon: days.
        users: of the generated population.
    """

    metric: str
    unit: str
    epsilon: float
    delta: float
    w_bound: int
    horizon: int
    users: int


def answer_mechanisms(question: MechanismsQuestion, job: Job) -> Tables:
    """The tables "mechanisms", "releases" and "bound".

    "mechanisms" has a row for each: its error in users, by formula or from trials, what it remembers, what a tick takes
    and where its proof is; or the reason why it cannot serve the choice. "releases" has a row for each mechanism and
    day. "bound" has the least error of any Gaussian noise, once it is found.

    Raises:
        ValueError: a field has an impossible value; the message names it.
        Superseded: see `Job`.
    """
    from workbench.views.jobs.meanwhile import meanwhile

    protected = _class_of(question)
    rows: list[TableRow] = []
    tables: Tables = {"mechanisms": rows, "releases": [], "bound": []}
    for number, name in enumerate(MECHANISMS):
        told = partial(job.tell, f"choosing the strategy of {name}", 0.5 * number / len(MECHANISMS))
        rows = [*rows, meanwhile(partial(_compared, question, protected, name), partial(told, None))]
        if number >= MECHANISMS.index(DEFAULT_MECHANISM):
            # Enough to look at; what follows is found by optimisation, which may take seconds.
            tables = {**tables, "mechanisms": _ranked(rows)}
            told(tables)
    with _population(question, job) as log:
        rows, releases = _tried(question, rows, log, job)
    tables = {**tables, "mechanisms": _ranked(rows), "releases": releases}
    searching = partial(job.tell, "searching for the lower bound", 0.9)
    searching(tables)
    least = meanwhile(partial(_least, question, protected), partial(searching, None))
    return {**tables, "mechanisms": _ranked(rows, least), "bound": [{"rms_std": least}]}


def _class_of(question: MechanismsQuestion) -> ProtectedClass:
    from dp.units import protected_class

    if question.horizon > MOST_DAYS:
        raise ValueError(f"horizon is {question.horizon}; at most {MOST_DAYS:,} days are drawn")
    if question.metric not in METRICS:
        raise ValueError(f"metric is {question.metric!r}; choose from {', '.join(METRICS)}")
    return protected_class(question.unit, METRICS[question.metric], question.w_bound, question.horizon)


def _compared(question: MechanismsQuestion, protected: ProtectedClass, name: str) -> TableRow:
    """What formulas say of one mechanism."""
    from dp.accounting.comparison import compare_mechanism
    from dp.accounting.composition import Guarantee

    found = asdict(compare_mechanism(name, protected, Guarantee(question.epsilon, question.delta)))
    known = found["rms_std"] is not None
    return {
        **{column: found[column] for column in KEPT},
        "tick_ms": _tick_times(question.horizon).get(name),
        "from": "formula" if known else None,
        "reason": None if known else found["reason"],
    }


def _tick_times(horizon: int) -> dict[str, float]:
    """Processor time of one tick by mechanism, as measured for the horizon nearest to this one; empty without a table.

    Times of the unit user and W_BOUND 2; those of other classes differ little.
    """
    file = RESULTS / BENCH
    if not file.exists():
        return {}
    steps = json.loads(file.read_text(encoding="utf-8"))["step"]
    nearest = min({step["horizon"] for step in steps}, key=lambda measured: abs(math.log(measured / horizon)))
    return {step["mechanism"]: step["step_ms"] for step in steps if step["horizon"] == nearest}


@contextmanager
def _population(question: MechanismsQuestion, job: Job) -> Iterator[Log]:
    """The log of the generated population."""
    from dp.log import read_log
    from experiments.engine.population import Population
    from experiments.engine.synthetic_log import write_synthetic_log
    from workbench.views.jobs.meanwhile import meanwhile

    population = Population(users=question.users, days=question.horizon, seed=POPULATION_SEED, **RATES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "population.parquet"
        meanwhile(
            partial(write_synthetic_log, population, path), partial(job.tell, "generating a population", 0.55, None)
        )
        with read_log(path) as log:
            yield log


def _tried(
    question: MechanismsQuestion, rows: Sequence[TableRow], log: Log, job: Job
) -> tuple[list[TableRow], list[TableRow]]:
    """The rows with what trials say, and releases of every mechanism that serves the choice."""
    counts: dict[Any, Any] = {}

    def counted(plan: Plan) -> Any:
        from dp.release import count_log

        if plan.freeze not in counts:
            last = plan.request.first + timedelta(days=question.horizon - 1)
            counts[plan.freeze] = count_log(log, plan, last)[question.metric].values
        return counts[plan.freeze]

    # The same counts, nobody frozen.
    truth = counted(_plan(msgspec.structs.replace(question, unit="user-day", w_bound=1), "laplace"))
    completed: list[TableRow] = []
    releases: list[TableRow] = []
    for number, row in enumerate(rows):
        job.tell(f"drawing releases of {row['mechanism']}", 0.6 + 0.3 * number / len(rows), None)
        try:
            plan = _plan(question, row["mechanism"])
        except ValueError as error:
            completed.append({**row, "reason": str(error)})
            continue
        trials = _trials(plan, counted(plan), TRIALS if row["from"] is None else RELEASES)
        completed.append(_completed(row, plan, trials, truth))
        releases += _release_rows(row["mechanism"], trials, truth)
    return completed, releases


def _plan(question: MechanismsQuestion, name: str) -> Plan:
    from dp.accounting.composition import Guarantee
    from dp.release import Request, plan_release
    from experiments.engine.population import START

    metric = question.metric
    return plan_release(
        Request(
            windows={metric: METRICS[metric]}, unit=question.unit, w_bound=question.w_bound,
            guarantee=Guarantee(question.epsilon, question.delta), mechanism=name, first=START,
            horizon=question.horizon, shares={metric: 1.0}, ci_level=LEVEL,
        )
    )  # fmt: skip


def _trials(plan: Plan, counts: Any, number: int) -> Trials:
    import numpy as np

    generator = np.random.default_rng([SEED, *plan.request.mechanism.encode()])
    return plan.series[0].mechanism.trials(counts, number, generator, LEVEL)


def _completed(row: TableRow, plan: Plan, trials: Trials, truth: Any) -> TableRow:
    """With the error where no formula gives it, and with the truncation bias."""
    import numpy as np

    bias = {"bias_rms": math.sqrt(float(np.square(np.atleast_2d(trials.counted) - truth).mean()))}
    if row["from"] is not None:
        return {**row, **bias}
    squares = np.square(trials.errors)
    return {
        **row,
        **bias,
        "rms_std": math.sqrt(float(squares.mean())),
        "max_std": math.sqrt(float(squares.mean(axis=0).max())),
        "memory": plan.series[0].mechanism.memory(len(truth)),
        "from": f"{TRIALS} trials",
        "reason": None,
    }


def _release_rows(name: str, trials: Trials, truth: Any) -> list[TableRow]:
    """A row a day: the truth, what the noise was added to, and the first releases, in whole users."""
    import numpy as np

    from experiments.engine.population import START

    counted = np.atleast_2d(trials.counted)[0]
    estimates = np.rint(trials.estimates[:RELEASES]).astype(np.int64)
    return [
        {
            "mechanism": name,
            "day": (START + timedelta(days=tick)).isoformat(),
            "truth": int(truth[tick]),
            "counted": int(counted[tick]),
            **{f"release_{number + 1}": int(estimate[tick]) for number, estimate in enumerate(estimates)},
        }
        for tick in range(len(truth))
    ]


def _least(question: MechanismsQuestion, protected: ProtectedClass) -> float:
    """The least root mean square, in users, of any Gaussian noise with this guarantee."""
    from dp.accounting.gaussian import mu_for
    from dp.mechanisms.lower_bound import lower_bound

    return lower_bound(protected) / mu_for(question.epsilon, question.delta)


def _ranked(rows: Sequence[TableRow], least: float | None = None) -> list[TableRow]:
    """The rows, each with whether another one beats it in error and memory, and its error over the lower bound."""
    import pandas as pd

    from experiments.kinds.mechanisms.analysis import unbeaten

    able = [row for row in rows if row["rms_std"] is not None and row["memory"] is not None]
    named = pd.DataFrame([{**row, "analytic_rmse": row["rms_std"]} for row in able])
    best = unbeaten(named) if able else []
    return [
        {
            **row,
            "unbeaten": row["mechanism"] in best,
            "over_bound": row["rms_std"] / least if least and _is_bounded(row) else None,
        }
        for row in rows
    ]


def _is_bounded(row: TableRow) -> bool:
    """Whether the lower bound is about this mechanism: Gaussian noise, whatever the data."""
    return bool(row["noise"] == "gaussian" and row["from"] == "formula")


def mechanisms_charts(question: MechanismsQuestion, tables: Tables) -> Mapping[str, Chart]:
    """Error against memory and against time, and releases of every mechanism."""
    from workbench.views.mechanisms.chart import frontier_chart, releases_grid

    charts: dict[str, Chart] = {
        f"frontier-{across}": frontier_chart(tables["mechanisms"], tables["bound"], across)
        for across in ("memory", "time")
    }
    if tables["releases"]:
        charts["releases"] = releases_grid(tables["releases"], question.metric)
    return charts


PAGE = ResearchPage(MechanismsQuestion, answer_mechanisms, mechanisms_charts)
