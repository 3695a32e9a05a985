"""What the page *ε × W_BOUND* computes: error against ε and against W_BOUND, first rough, then as it stays."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from experiments.engine.population import ConfigLog, Population
from workbench.rows import TableRow
from workbench.views.axes import EPSILONS, POPULATION_SEED, W_BOUNDS
from workbench.views.given_log import GivenLog, column_names, locate
from workbench.views.jobs.job import Job, ResearchPage, Tables
from workbench.views.toml_text import toml_text

if TYPE_CHECKING:
    from experiments.kinds.mechanisms.config import MechanismConfig
    from workbench.views.charts import Chart
    from workbench.views.counting import CountedUsers

ROUGH_TRIALS, TRIALS = 20, 200
SEED = 20260101
OWN_LOG = "own"
"""What a config calls the log that a visitor has given."""


class TradeoffQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="tradeoff", forbid_unknown_fields=True, kw_only=True
):
    """What error against ε and against W_BOUND is to be shown for: a generated population, or a log.

    Attributes:
        epsilon: of the whole series; where the error against W_BOUND is shown.
        w_bound: where the error against ε is shown.
        users, days, delete_rate: of the population; the rate is the share of the activity that is retracted later.
        log_file, log_sha256, log_columns: of the log; see `GivenLog`.
    """

    metric: str
    unit: str
    mechanisms: tuple[str, ...]
    epsilon: float
    w_bound: int
    delta: float
    users: int | None = None
    days: int | None = None
    delete_rate: float | None = None
    log_file: str | None = None
    log_sha256: str | None = None
    log_columns: str | None = None

    def __post_init__(self) -> None:
        """Refuse a question about nobody, or about two sorts of users."""
        population = {part is None for part in (self.users, self.days, self.delete_rate)}
        log = {part is None for part in (self.log_file, self.log_sha256)}
        if (population, log) not in (({False}, {True}), ({True}, {False})):
            raise ValueError("give either users, days and delete_rate, or log_file and log_sha256")

    @property
    def given(self) -> GivenLog | None:
        """The log, if the question is about one."""
        if self.log_file is None or self.log_sha256 is None:
            return None
        return GivenLog(self.log_file, self.log_sha256, self.log_columns or "")

    @property
    def population(self) -> Population:
        """The population, if the question is about one.

        Raises:
            ValueError: it is about a log.
        """
        if self.users is None or self.days is None or self.delete_rate is None:
            raise ValueError("the question is about a log")
        return Population(users=self.users, days=self.days, seed=POPULATION_SEED, delete_rate=self.delete_rate)

    @property
    def epsilons(self) -> list[float]:
        """Where the error against ε is shown."""
        return sorted({*EPSILONS, self.epsilon})

    @property
    def w_bounds(self) -> list[int]:
        """Where the error against W_BOUND is shown."""
        return sorted({*W_BOUNDS, self.w_bound})


def config_of(question: TradeoffQuestion, axes: Sequence[str], trials: int, log: ConfigLog | None) -> MechanismConfig:
    """The experiment along one axis or several.

    Args:
        axes: names of the tables.
        log: of the question, where it is about one.
    """
    from experiments.kinds.mechanisms.config import MechanismConfig, MechanismGrid

    grids = {
        "by-epsilon": MechanismGrid(w_bound=[question.w_bound], epsilon=question.epsilons),
        "by-w-bound": MechanismGrid(w_bound=question.w_bounds, epsilon=[question.epsilon]),
    }
    first, *others = (grids[axis] for axis in axes)
    return MechanismConfig(
        name="tradeoff",
        question="How does the error depend on ε, and how on W_BOUND?",
        figure="epsilon_vs_error",
        metric=question.metric,
        unit=question.unit,
        delta=question.delta,
        trials=trials,
        seed=SEED,
        population=question.population if log is None else None,
        logs={} if log is None else {OWN_LOG: log},
        log=None if log is None else OWN_LOG,
        grid=msgspec.structs.replace(first, mechanism=list(question.mechanisms)),
        also=others,
    )


AXES = ("by-epsilon", "by-w-bound")


def answer_tradeoff(question: TradeoffQuestion, job: Job) -> Tables:
    """The tables "by-epsilon" and "by-w-bound": rows of `kinds.mechanisms.row.evaluate`, with `total_columns`.

    About a log there is the table "log" too, with one row: what was read. Nothing of it stays on disk.

    Raises:
        ValueError: a field has an impossible value, or the log is refused; the message says why.
        Superseded: see `Job`.
    """
    from workbench.views.counting import count_given, count_population

    given, bounds = question.given, question.w_bounds if question.unit == "user" else []
    if given is None:
        counted = count_population(job, question.population, question.metric, bounds)
        return _tabulated(question, job, counted, None, job.cache)
    path = locate(given, job.folder)
    counted = count_given(job, given, path, question.metric, bounds)
    log = ConfigLog(str(path), counted.first, counted.days, column_names(given.columns))
    with tempfile.TemporaryDirectory() as cache:
        tables = _tabulated(question, job, counted, log, Path(cache))
    return tables


def _tabulated(
    question: TradeoffQuestion, job: Job, counted: CountedUsers, log: ConfigLog | None, cache: Path
) -> Tables:
    from experiments.engine.runner import tabulate
    from experiments.kinds.mechanisms.tasks import SeriesCounts, mechanism_tasks

    series = {(question.metric, bound): counts for bound, counts in counted.bounded.items()}
    tasks = functools.partial(mechanism_tasks, count=lambda *asked: SeriesCounts(series, {}, {}))
    tables: Tables = {} if log is None else {"log": [_log_row(question, counted)]}
    sizes = {"by-epsilon": len(question.epsilons), "by-w-bound": len(question.w_bounds)}
    work = [(axis, trials, trials * sizes[axis]) for trials in (ROUGH_TRIALS, TRIALS) for axis in AXES]
    total, done = sum(weight for *_, weight in work), 0
    for axis, trials, weight in work:
        config = config_of(question, [axis], trials, log)
        report = _reporter(job, done / total, weight / total)
        rows = tabulate(config, cache, jobs=1, report=report, make_tasks=tasks).rows
        tables = {**tables, axis: [row | total_columns(row) for row in rows]}
        done += weight
        job.tell("refining", done / total, tables if set(AXES) <= set(tables) else None)
    return tables


def total_columns(row: Mapping[str, Any]) -> TableRow:
    """The error of a row in parts that add up: total_rms² = noise_rms² + bias_rms², all over days and trials.

    Noise is what the formula says, for which no trial is needed; where there is none, it is that of the trials, and
    nobody is frozen. (`rmse` is a mean of roots, one a trial, whose squares do not add up.)
    """
    formula = row["analytic_noise_rmse"]
    noise = row["noise_rmse"] if formula is None else formula
    return {"total_rms": math.hypot(noise, row["bias_rms"]), "noise_rms": noise}


def least(rows: Sequence[TableRow]) -> dict[str, TableRow]:
    """Mechanism → its row with the least total error, for those whose error depends on W_BOUND both ways.

    That is where users are frozen. For the unit user-day W_BOUND is an assumption, and the least one is always best.
    """
    found: dict[str, TableRow] = {}
    for row in rows:
        if row["unit"] == "user" and any(other["bias_rms"] > 0 for other in rows if _same(other, row)):
            best = found.setdefault(row["mechanism"], row)
            if row["total_rms"] < best["total_rms"]:
                found[row["mechanism"]] = row
    return found


def _same(one: TableRow, other: TableRow) -> bool:
    return bool(one["mechanism"] == other["mechanism"])


def _log_row(question: TradeoffQuestion, counted: CountedUsers) -> TableRow:
    last = counted.first + timedelta(days=counted.days - 1)
    return {
        "file": question.log_file, "sha256": question.log_sha256, "first": counted.first.isoformat(),
        "last": last.isoformat(), "days": counted.days, "users": counted.users, "rows": counted.rows,
    }  # fmt: skip


def _reporter(job: Job, base: float, share: float) -> Callable[[str, float | None], None]:
    def report(stage: str, fraction: float | None) -> None:
        job.tell("simulating releases", base + share * (fraction or 0.0), None)

    return report


def tradeoff_charts(question: TradeoffQuestion, tables: Tables) -> Mapping[str, Chart]:
    """One chart an axis."""
    from workbench.views.tradeoff.chart import error_chart

    epsilon, w_bound = "ε of the whole series", "W_BOUND [flips]"
    return {
        "by-epsilon": error_chart(tables["by-epsilon"], "epsilon", question.epsilon, epsilon, logarithmic=True),
        "by-w-bound": error_chart(
            tables["by-w-bound"], "w_bound", question.w_bound, w_bound, ringed=least(tables["by-w-bound"])
        ),
    }


def tradeoff_experiment(question: TradeoffQuestion, tables: Tables) -> str:
    """The config of an experiment with the same rows; a log lies in the folder in which the experiment is run."""
    log = None
    if question.given is not None:
        (row,) = tables["log"]
        columns = column_names(question.given.columns)
        log = ConfigLog(str(row["file"]), date.fromisoformat(row["first"]), int(row["days"]), columns)
    config = config_of(question, AXES, TRIALS, log)
    return toml_text(msgspec.to_builtins(config, builtin_types=(date,)))


def tradeoff_files(question: TradeoffQuestion) -> Mapping[str, str]:
    """The log, if the question is about one."""
    given = question.given
    return {} if given is None else {given.file: given.sha256}


PAGE = ResearchPage(
    TradeoffQuestion, answer_tradeoff, tradeoff_charts, experiment=tradeoff_experiment, needed=tradeoff_files
)
