"""What the page *Attacks* computes: what an attack proves against what is promised, from more and more trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from workbench.views.attacks.wording import ATTACK_TITLES, COMMITTED_ONLY, LIKELIHOOD_RATIO, STRIP_MISTAKE
from workbench.views.committed import committed_rows
from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from workbench.views.charts import Chart


class Audited(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mechanism that an audit attacks.

    Attributes:
        epsilon: of the whole series; so is delta.
        days: ticks of the series.
    """

    mechanism: str
    metric: str
    unit: str
    epsilon: float
    delta: float
    w_bound: int
    days: int


class AttackQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="attacks", forbid_unknown_fields=True, kw_only=True
):
    """Which attack is made against what.

    Attributes:
        attack: in `ATTACK_TITLES`.
        broken: whether the mistake is in.
        mistake: of an audit the name of a twin; of an attack a target that must fall; None for an honest target.
        mechanism: that an audit attacks, with the other fields from there on; None for what has a claim of its own.
        days: ticks of the series.
    """

    attack: str
    broken: bool
    mistake: str | None = None
    mechanism: str | None = None
    metric: str | None = None
    unit: str | None = None
    epsilon: float | None = None
    delta: float | None = None
    w_bound: int | None = None
    days: int | None = None

    @property
    def audited(self) -> Audited:
        """The mechanism of the strip.

        Raises:
            ValueError: a field of it is missing.
        """
        names = Audited.__struct_fields__
        try:
            return msgspec.convert({name: getattr(self, name) for name in names}, Audited)
        except msgspec.ValidationError as error:
            raise ValueError(f"{STRIP_MISTAKE} needs {', '.join(names)}: {error}") from error


def answer_attack(question: AttackQuestion, job: Job) -> Tables:
    """What is proved and what was committed.

    Returns:
        "bounds": lower bounds on ε by trials, where the attack proves any. "readings": what else was measured, with the
        most that is allowed. "committed-audit" or "committed-attacks": rows of results/.

    Raises:
        ValueError: there is no such attack or mistake, or the audit cannot be made.
        Superseded: see `Job`.
    """
    if question.attack not in ATTACK_TITLES:
        raise ValueError(f"attack is {question.attack!r}; choose one of {', '.join(ATTACK_TITLES)}")
    of_noise = question.attack == LIKELIHOOD_RATIO
    committed: Tables = (
        {"committed-audit": committed_rows("audit")} if of_noise else {"committed-attacks": committed_rows("attacks")}
    )
    committed = {name: rows for name, rows in committed.items() if rows}
    if question.attack in COMMITTED_ONLY:
        return committed
    if of_noise:
        from workbench.views.attacks.bounds import grow

        return grow(question, job, committed)
    from workbench.views.attacks.readings import take

    return take(question, job, committed)


def attack_charts(question: AttackQuestion, tables: Tables) -> Mapping[str, Chart]:
    """One chart a table, but of the committed audit two."""
    from workbench.views.attacks.chart import bounds_chart, kept_chart, mistakes_chart, overview_chart, readings_chart

    charts: dict[str, Chart] = {}
    if tables.get("bounds"):
        charts["bounds"] = bounds_chart(tables["bounds"])
    if tables.get("readings"):
        charts["readings"] = readings_chart(tables["readings"])
    if tables.get("committed-audit"):
        charts["committed-mistakes"] = mistakes_chart(tables["committed-audit"])
        charts["committed-promises"] = kept_chart(tables["committed-audit"])
    if tables.get("committed-attacks"):
        charts["committed-attacks"] = overview_chart(tables["committed-attacks"], question.attack)
    return charts


PAGE = ResearchPage(AttackQuestion, answer_attack, attack_charts)
