"""What the page *ε × W_BOUND* computes: error against ε and against W_BOUND, first rough, then as it stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from workbench.views.jobs.job import Job, ResearchPage, Tables
from workbench.views.strip import EPSILONS, W_BOUNDS

if TYPE_CHECKING:
    from experiments.kinds.mechanisms.config import MechanismConfig
    from workbench.views.charts import Chart

ROUGH_TRIALS, TRIALS = 20, 200
SEED = 20260101
POPULATION_SEED = 7


class TradeoffQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="tradeoff", forbid_unknown_fields=True, kw_only=True
):
    """What error against ε and against W_BOUND is to be shown for.

    Attributes:
        epsilon: of the whole series; where the error against W_BOUND is shown.
        w_bound: where the error against ε is shown.
        delete_rate: share of the activity that is retracted later.
    """

    metric: str
    unit: str
    mechanisms: tuple[str, ...]
    epsilon: float
    w_bound: int
    delta: float
    users: int
    days: int
    delete_rate: float


def config_of(
    question: TradeoffQuestion, epsilons: Sequence[float], w_bounds: Sequence[int], trials: int
) -> MechanismConfig:
    """The experiment over these values of ε and W_BOUND."""
    from experiments.engine.population import Population
    from experiments.kinds.mechanisms.config import MechanismConfig, MechanismGrid

    return MechanismConfig(
        name="tradeoff",
        question="",
        figure="",
        delta=question.delta,
        trials=trials,
        seed=SEED,
        population=Population(
            users=question.users, days=question.days, seed=POPULATION_SEED, delete_rate=question.delete_rate
        ),
        grid=MechanismGrid(
            metric=[question.metric],
            unit=[question.unit],
            w_bound=list(w_bounds),
            mechanism=list(question.mechanisms),
            epsilon=list(epsilons),
        ),
    )


def answer_tradeoff(question: TradeoffQuestion, job: Job) -> Tables:
    """The tables "by-epsilon" and "by-w-bound": rows of `experiments.kinds.mechanisms.row.evaluate`.

    Raises:
        ValueError: a field has an impossible value; the message names it.
        Superseded: see `Job`.
    """
    from experiments.engine.runner import tabulate

    epsilons = sorted({*EPSILONS, question.epsilon})
    w_bounds = sorted({*W_BOUNDS, question.w_bound})
    axes = {"by-epsilon": (epsilons, [question.w_bound]), "by-w-bound": ([question.epsilon], w_bounds)}
    work = [
        (name, trials, axes[name], trials * len(axes[name][0]) * len(axes[name][1]))
        for trials in (ROUGH_TRIALS, TRIALS)
        for name in axes
    ]
    total = sum(weight for *_, weight in work)
    tables: Tables = {}
    done = 0
    for name, trials, axis, weight in work:
        report = _reporter(job, done / total, weight / total)
        rows = tabulate(config_of(question, *axis, trials), job.cache, jobs=1, report=report).rows
        tables = {**tables, name: list(rows)}
        done += weight
        job.tell("refining", done / total, tables if len(tables) == len(axes) else None)
    return tables


def _reporter(job: Job, base: float, share: float) -> Callable[[str, float | None], None]:
    def report(stage: str, fraction: float | None) -> None:
        job.tell(stage if fraction is None else "simulating releases", base + share * (fraction or 0.0), None)

    return report


def tradeoff_charts(question: TradeoffQuestion, tables: Tables) -> Mapping[str, Chart]:
    """One chart a table."""
    from workbench.views.tradeoff.chart import error_chart

    epsilon, w_bound = "ε of the whole series", "W_BOUND [flips]"
    return {
        "by-epsilon": error_chart(tables["by-epsilon"], "epsilon", question.epsilon, epsilon, logarithmic=True),
        "by-w-bound": error_chart(tables["by-w-bound"], "w_bound", question.w_bound, w_bound),
    }


PAGE = ResearchPage(TradeoffQuestion, answer_tradeoff, tradeoff_charts)
