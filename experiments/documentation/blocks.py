"""Blocks of the documentation that hold numbers of experiments and mechanisms; `make docs` fills them.

A block runs from `<!-- begin NAME -->` to `<!-- end NAME -->`; a test fails when its text is not what this
module would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.gaussian import mu_for
from dp.mechanisms import MECHANISMS, linear_design
from dp.release import METRICS, Request, plan_release, promise
from dp.units import ProtectedClass, protected_class
from experiments.documentation import (
    audit_tables,
    joint_table,
    known_table,
    mechanism_tables,
    question_table,
    sketch_tables,
)
from experiments.documentation.joint_table import GUARANTEE, HORIZON
from experiments.documentation.markdown import markdown_table, wrap_prose
from experiments.engine.places import RESULTS, ROOT
from experiments.engine.population import START
from experiments.kinds.loading import read

METRIC_CLASSES: tuple[tuple[str, str, int], ...] = (
    ("dau", "user-day", 2),
    ("wau", "user-day", 2),
    ("mau", "user-day", 2),
    ("mau", "user-day", 8),
    ("mau", "user", 2),
    ("mau", "user", 8),
    ("mau", "user", 24),
)


def mechanism_list() -> str:
    """Every mechanism with its summary."""
    rows = [(f"`{name}`", family.noise, family.summary) for name, family in MECHANISMS.items()]
    return markdown_table(["mechanism", "noise", "what it does"], "lll", rows)


def standard_deviations() -> str:
    """Root mean square of the noise over a year, in users, for every mechanism and class."""

    def cell(name: str, protected: ProtectedClass) -> str:
        deviation = calibrate_linear([linear_design(name, protected)], GUARANTEE, [1.0])[0].standard_deviation(HORIZON)
        return f"{np.sqrt(np.mean(deviation**2)):,.1f}"

    return _by_class(cell, [name for name, family in MECHANISMS.items() if family.strategy])


def factors() -> str:
    """Largest and root-mean-square standard deviation times μ, for the Gaussian mechanisms."""

    def cell(name: str, protected: ProtectedClass) -> str:
        chosen = linear_design(name, protected)
        energy = chosen.strategy.decoder_energy(HORIZON)
        worst, typical = chosen.sensitivity * np.sqrt([energy.max(), energy.mean()])
        return f"{worst:.3f} / {typical:.3f}"

    return _by_class(
        cell, [name for name, family in MECHANISMS.items() if family.noise == "gaussian" and family.strategy]
    )


def headline() -> str:
    """What a year of daily MAU costs, in one sentence."""
    mechanism = calibrate_linear(
        [linear_design("damped-square-root", protected_class("user-day", METRICS["mau"], 2, HORIZON))], GUARANTEE, [1.0]
    )[0]
    deviation = mechanism.standard_deviation(HORIZON)[-1]
    naive = calibrate_linear(
        [linear_design("laplace", protected_class("user-day", METRICS["mau"], 2, HORIZON))], GUARANTEE, [1.0]
    )[0]
    return (
        f"At ε = {GUARANTEE.epsilon:g}, δ = {GUARANTEE.delta:g} for the whole year (1/μ = "
        f"{1 / mu_for(*GUARANTEE):.3f}), a daily MAU that protects one user's activity on one day carries noise with a "
        f"standard deviation of **{deviation:.1f} users**, however long it runs. Independent Laplace noise of the same "
        f"ε needs {naive.standard_deviation(HORIZON)[-1]:.1f}."
    )


def promise_sentence() -> str:
    """The promise of the default release."""
    request = Request({"mau": 30}, "user-day", 2, GUARANTEE, "damped-square-root", START, HORIZON, {"mau": 1.0})
    plan_release(request)
    return f"> {promise(request)}"


GALLERY = (
    "epsilon_vs_error", "epsilon_measures", "w_bound_error", "horizon_error", "mechanism_frontier", "interval_coverage",
    "accountants_year", "sketch_memory", "sketch_turnstile", "deletion_error", "budget_split", "published_norms",
    "whole_dashboard", "audit", "attacks",
)  # fmt: skip
"""The figures in the order in which they are read; a test compares with the configs."""


def gallery() -> str:
    """Every figure under its question, with the finding of its table, its config and the table."""
    parts = []
    for name in GALLERY:
        (path,) = (ROOT / "experiments").glob(f"*/{name}.toml")
        config, written = read(path), path.relative_to(ROOT).as_posix()
        parts += [
            f"## {config.question}",
            f"![{name}](../results/{name}.svg)",
            config.kind.findings()[config.figure](pd.read_parquet(RESULTS / f"{name}.parquet")),
            f"[{name}.toml](../{written}) · `results/{name}.parquet` · `dpdau experiment run {written}`",
        ]
    return "\n\n".join(parts)


EXPERIMENT_BLOCKS: dict[str, Callable[[], str]] = {
    "mechanisms": mechanism_list,
    "standard-deviations": standard_deviations,
    "factors": factors,
    "headline": headline,
    "promise": promise_sentence,
    "mechanism-bounds": mechanism_tables.table,
    "known-noise": known_table.table,
    "joint-gain": joint_table.table,
    "sketches": sketch_tables.capabilities,
    "sketch-memory": sketch_tables.memory,
    "sketch-turnstile": sketch_tables.turnstile,
    "figures": gallery,
    "question-costs": question_table.question_costs,
    "audit-headline": audit_tables.audit_headline,
    "audit-measured": audit_tables.mechanism_table,
    "audit-sketches": audit_tables.sketch_table,
    "audit-twins": audit_tables.twins,
    "audit-live": audit_tables.live,
    "audit-closeness": audit_tables.closeness_table,
}


def fill_blocks(text: str, blocks: Mapping[str, Callable[[], str]] = EXPERIMENT_BLOCKS) -> str:
    """Write every marked block of a text anew; returns the text.

    Raises:
        KeyError: a block has a name that no function writes.
    """
    return re.sub(
        r"(<!-- begin ([a-z-]+) -->\n).*?(\n<!-- end \2 -->)",
        lambda found: found[1] + wrap_prose(blocks[found[2]]()) + found[3],
        text,
        flags=re.DOTALL,
    )


def _by_class(cell: Callable[[str, ProtectedClass], str], names: list[str]) -> str:
    rows = []
    for metric, unit, w_bound in METRIC_CLASSES:
        protected = protected_class(unit, METRICS[metric], w_bound, HORIZON)
        rows.append([f"{metric.upper()}, {unit}, {w_bound}", *(cell(name, protected) for name in names)])
    return markdown_table(["metric, unit, W_BOUND", *(f"`{name}`" for name in names)], "l" + "r" * len(names), rows)
