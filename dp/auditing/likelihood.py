"""The audit: releases with and without the worst change, told apart by the likelihood ratio, and what that proves.

Everything is public to the attacker but the noise: the counts, the mechanism and the change. Releases come from the
code under test, `Mechanism.simulate`; the statistic only decides how sharp the bound is, never whether it holds.

For Gaussian noise the log likelihood ratio is the projection on Σ⁻¹Δ, Σ the covariance of what is seen; for Laplace
noise the sum of |y| − |y − MΔ| over the measurements y, which are measured back from the release. By Neyman and Pearson
no other test of the same false alarms has more true ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Required, TypedDict, TypeVar, Unpack

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.accounting.mechanism_events import laplace
from dp.auditing.bounds import best_threshold, count_alarms, epsilon_evidence, mu_evidence
from dp.auditing.worst import Pattern, worst_pattern
from dp.mechanisms import EMPTY_STATE, GRID, LinearMechanism, Mechanism, Strategy
from dp.mechanisms.protocol import Floats, Integers
from dp.units import ProtectedClass

Seen = Literal["releases", "measurements"]
Sampler = Callable[[int, np.random.Generator], Floats]
"""So many fresh trials, one a row."""

Scores = Callable[[int, np.random.Generator], Floats]
"""Scores of so many fresh trials, shape (trials,); the larger, the more a release looks like one with the change."""

Report = Callable[[float], None]

Drawn = Callable[[int, np.random.Generator, Report], Floats]
"""What gives scores, or several numbers, of so many fresh trials, and says how far it is."""

Part = TypeVar("Part")

CONFIDENCE = 0.95
FLAG_LEVEL = 0.01
"""Most often that a mechanism which keeps its promise may be flagged."""

CHOOSING = 0.2
"""Share of the trials that choose thresholds. They choose one number, the others measure."""

WARY = 1 - 1e-4
"""Confidence at which thresholds are chosen: the few releases of a far tail must not win by luck."""

FLOATS_AT_ONCE = 2**19
"""4 MiB of draws at a time, which a core's cache almost holds."""

DECIMALS = 9
"""Laplace scores have atoms; so rounded, the float error of measuring back does not split them."""


@dataclass(frozen=True)
class Audit:
    """What was promised, and what an attack proves.

    Attributes:
        mechanism: its name.
        seen: what the attacker sees: the released numbers, or the noisy measurements that they are decoded from.
        claim: the promised ε and δ.
        claimed_mu: the μ that the claim stands for, given its noise; None where nothing is known of the noise.
        epsilon: lower bound on ε at the promised δ by rates alone.
        mu: lower bound on μ; None where no μ is claimed.
        epsilon_of_mu: for Gaussian noise the ε at the promised δ on the curve of `mu`, else None.
        confidence: of each of these bounds.
        trials: releases in all, half of them with the change.
        flagged: the promise is disproved; a kept one is flagged with probability ≤ `flag_level`.
        worst: norm of the pattern over the sensitivity that the noise was calibrated for; 1 says that nothing was
            given away. None where there is no such number.
        flips: starts and ends of the pattern's runs by turns.
    """

    mechanism: str
    seen: str
    claim: Guarantee
    claimed_mu: float | None
    epsilon: float
    mu: float | None
    epsilon_of_mu: float | None
    confidence: float
    trials: int
    flagged: bool
    flag_level: float
    worst: float | None
    flips: tuple[int, ...]

    @property
    def measured(self) -> float:
        """The ε that is proved: on the Gaussian curve where there is one, else by rates alone."""
        # Not the larger of the two: the chosen one would exceed the truth more often than `confidence` says.
        return self.epsilon if self.epsilon_of_mu is None else self.epsilon_of_mu

    @property
    def ratio(self) -> float:
        """Measured over claimed: of μ where it is claimed, else of ε."""
        if self.mu is None or self.claimed_mu is None:
            return self.epsilon / self.claim.epsilon
        return self.mu / self.claimed_mu


@dataclass(frozen=True)
class Attack:
    """The likelihood-ratio test against one linear mechanism, before any noise is drawn.

    Attributes:
        pattern: Δ with its flips.
        norm: of what it changes, in users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise.
        back: for Laplace noise takes what is seen to the measurements that change, shape (k, seen); else None.
        shift: what the change adds there, shape (k,).
        weights: of the projection for Gaussian noise, shape (seen,); None for Laplace noise.
    """

    seen: Seen
    pattern: Pattern
    ticks: int
    norm: float
    back: csr_array | None
    shift: Floats
    weights: Floats | None

    def score(self, errors: Floats) -> Floats:
        """Log likelihood ratio of each row of what is seen less what it is without noise and change, up to a scale."""
        if self.weights is not None:
            return np.asarray(errors @ self.weights)
        assert self.back is not None
        measured = self.back @ errors.T
        terms = np.abs(measured)
        measured -= self.shift[:, np.newaxis]
        terms -= np.abs(measured, out=measured)
        return np.asarray(np.round(terms.sum(axis=0), DECIMALS))


def strategy_matrix(strategy: Strategy, ticks: int) -> Floats:
    """M = B⁻¹, by measuring one user who is present at one tick; in users, shape (draws, ticks)."""
    matrix = np.zeros((strategy.draws(0, ticks), ticks))
    before = EMPTY_STATE.secret
    for present in range(ticks):
        secret, used = before, strategy.draws(0, present)
        for tick in range(present, ticks):
            exact, secret = strategy.measure(tick, secret, int(tick == present))
            matrix[used : used + len(exact), present] = exact
            used += len(exact)
        _, before = strategy.measure(present, before, 0)
    return matrix / GRID


def attack(
    mechanism: LinearMechanism, protected: ProtectedClass, ticks: int, generator: np.random.Generator, seen: Seen
) -> Attack:
    """The worst pattern of a class for what is seen, and the statistic along it.

    Args:
        ticks: length of the audited series.
        generator: of the search's beginnings.

    Raises:
        ValueError: Laplace noise is to be seen in releases that tell less than the measurements, for which the
            likelihood ratio has no closed form.
    """
    strategy, pure = mechanism.strategy, mechanism.noise.pure
    matrix = strategy_matrix(strategy, ticks)
    form = np.asarray(matrix.T @ matrix)
    square = len(matrix) == ticks
    if pure and not square and seen == "releases":
        raise ValueError(f"seen is 'releases', which under {mechanism.name} tell less than its measurements do")
    if seen == "releases" and not square:
        decoder = strategy.decode(np.eye(len(matrix)))
        form = np.asarray(np.linalg.inv(decoder.T @ decoder))
    pattern = worst_pattern(form, protected, generator)
    series = pattern.series(ticks)
    shift = matrix @ series
    if pure:
        # Strategies that serve Laplace noise change each measurement by −1, 0 or 1, for which ℓ₁ = ℓ₂².
        touched = shift != 0
        back = csr_array(matrix[touched] if seen == "releases" else np.eye(len(matrix))[touched])
        return Attack(seen, pattern, ticks, float(np.abs(shift).sum()), back, shift[touched], None)
    weights = form @ series if seen == "releases" else shift
    return Attack(seen, pattern, ticks, float(np.sqrt(pattern.energy)), None, shift, weights)


def views(mechanism: LinearMechanism, ticks: int) -> tuple[Seen, ...]:
    """What is worth auditing: releases, and measurements where there are more of them than releases."""
    if mechanism.strategy.draws(0, ticks) == ticks:
        return ("releases",)
    return ("measurements",) if mechanism.noise.pure else ("releases", "measurements")


@dataclass(frozen=True)
class Case:
    """Two laws to be told apart, and what would be said of them if they were.

    Attributes:
        mechanism: its name.
        seen: see `Audit`.
        unchanged: what is seen less what it is without noise and change, shape (trials, seen).
        changed: likewise with the change, still less what it is without.
        series: Δ, shape (ticks,).
        score: log likelihood ratio of each row, up to a scale; None where it has no closed form.
        width: floats that a trial takes while it is made.
        claimed_mu: see `Audit`; so for `worst` and `flips`.
    """

    mechanism: str
    seen: str
    claim: Guarantee
    unchanged: Sampler
    changed: Sampler
    series: Integers
    score: Callable[[Floats], Floats] | None
    width: int
    claimed_mu: float | None = None
    worst: float | None = None
    flips: tuple[int, ...] = ()


Released = Callable[[Integers], Sampler]
"""From counts to what releases them, in place of a mechanism's simulation; shape (trials, T)."""


def linear_case(
    mechanism: LinearMechanism,
    claim: Guarantee,
    against: Attack,
    counts: Integers,
    released: Released | None = None,
) -> Case:
    """A linear mechanism, which need not be the one that the attack was made for.

    Args:
        counts: without the change, shape (T,), known to the attacker.
        released: for an attack on releases.

    Raises:
        ValueError: counts have another length.
    """
    if len(counts) != against.ticks:
        raise ValueError(f"counts have {len(counts)} ticks; the attack is for {against.ticks}")
    series = against.pattern.series(against.ticks)
    known = counts if against.seen == "releases" else measurements(mechanism.strategy, counts)
    sampled = simulated if against.seen == "releases" else measured
    errors = less_known(released or partial(sampled, mechanism), known)
    return Case(
        mechanism.name,
        against.seen,
        claim,
        errors(counts),
        errors(counts + series),
        series,
        against.score,
        mechanism.strategy.draws(0, len(counts)),
        claimed_mu=mu_of(mechanism, claim),
        worst=against.norm / mechanism.sensitivity,
        flips=tuple(against.pattern.flips.tolist()),
    )


def audit_linear(
    mechanism: LinearMechanism,
    claim: Guarantee,
    against: Attack,
    counts: Integers,
    trials: int,
    generator: np.random.Generator,
) -> Audit:
    """A linear mechanism by the likelihood ratio alone; see `linear_case`.

    Raises:
        ValueError: there are fewer than 20 trials, or counts of another length.
    """
    case = linear_case(mechanism, claim, against, counts)

    def scores(errors: Sampler) -> Drawn:
        return in_chunks(lambda number, source: against.score(errors(number, source)), case.width)

    return compare(
        scores(case.unchanged), scores(case.changed), claim, trials, generator,
        mechanism=case.mechanism, seen=case.seen, claimed_mu=case.claimed_mu, worst=case.worst, flips=case.flips,
    )  # fmt: skip


def compare(
    unchanged: Drawn,
    changed: Drawn,
    claim: Guarantee,
    trials: int,
    generator: np.random.Generator,
    *,
    report: Report = lambda done: None,
    **told: Unpack[Told],
) -> Audit:
    """What scores of fresh releases without and with a change prove.

    Args:
        unchanged: scores of so many trials; the last argument gets the share done.
        told: see `judged`.
    """
    return judged(*drawn(unchanged, changed, trials, generator, report), claim, **told)


def drawn(
    unchanged: Drawn, changed: Drawn, trials: int, generator: np.random.Generator, report: Report
) -> tuple[Floats, Floats]:
    """Half of the trials without, and half with the change.

    Raises:
        ValueError: there are fewer than 20 trials.
    """
    number = trials // 2
    if number < 10:
        raise ValueError(f"trials is {trials}; at least 20 are needed")
    without = unchanged(number, generator, lambda done: report(done / 2))
    return without, changed(number, generator, lambda done: report(0.5 + done / 2))


class Told(TypedDict, total=False):
    """What `judged` is told besides scores and claim; attributes as of `Audit`, with defaults."""

    mechanism: Required[str]
    seen: Required[str]
    claimed_mu: float | None
    confidence: float
    flag_level: float
    worst: float | None
    flips: tuple[int, ...]


def judged(
    without: Floats,
    with_change: Floats,
    claim: Guarantee,
    *,
    mechanism: str,
    seen: str,
    claimed_mu: float | None = None,
    confidence: float = CONFIDENCE,
    flag_level: float = FLAG_LEVEL,
    worst: float | None = None,
    flips: tuple[int, ...] = (),
) -> Audit:
    """What scores of independent releases without and with a change prove; both of shape (trials / 2,).

    The first fifth of the trials chooses a threshold for each bound, the others are counted. All bounds are at
    `confidence` each; the flag is raised by bounds of its own, which fail together with probability ≤ `flag_level`.

    Args:
        claimed_mu: a promise that the alarms keep as well as ε and δ; None to measure ε alone.
    """
    first = max(int(CHOOSING * len(without)), 1)
    # Two statements, on ε and on μ, may raise the flag; each does wrongly half as often.
    flag_confidence = 1 - flag_level / (1 if claimed_mu is None else 2)

    def proved(evidence: Callable[..., Floats], *arguments: float) -> tuple[float, float]:
        threshold = best_threshold(without[:first], with_change[:first], lambda a: evidence(a, *arguments, WARY))
        alarms = count_alarms(without[first:], with_change[first:], threshold)
        shown, sure = (float(evidence(alarms, *arguments, level)) for level in (confidence, flag_confidence))
        return max(shown, 0.0), max(sure, 0.0)

    epsilon, sure_epsilon = proved(epsilon_evidence, claim.delta)
    flagged = sure_epsilon > claim.epsilon
    mu = None
    if claimed_mu is not None:
        mu, sure_mu = proved(mu_evidence)
        flagged = flagged or sure_mu > claimed_mu
    return Audit(
        mechanism=mechanism,
        seen=seen,
        claim=claim,
        claimed_mu=claimed_mu,
        epsilon=epsilon,
        mu=mu,
        epsilon_of_mu=_on_curve(mu, claim.delta),
        confidence=confidence,
        trials=len(without) + len(with_change),
        flagged=flagged,
        flag_level=flag_level,
        worst=worst,
        flips=flips,
    )


def in_turn(parts: Sequence[Part], flag_level: float, report: Report) -> Iterator[tuple[Part, float, Report]]:
    """Each part of one audit with its share of the flag's level, and what reports its progress as that of the whole."""
    for number, part in enumerate(parts):
        yield part, flag_level / len(parts), partial(_report_part, report, number, len(parts))


def _report_part(report: Report, before: int, parts: int, done: float) -> None:
    report((before + done) / parts)


def mu_of(mechanism: LinearMechanism, claim: Guarantee) -> float:
    """The μ that a linear mechanism has if it keeps its claim.

    Gaussian noise has the curve through ε and δ. Laplace noise divides ε among the k measurements that a change alters
    by one user each, and their μ² add up (docs/guarantees.md, section 11.2).
    """
    if not mechanism.noise.pure:
        return gaussian.mu_for(*claim)
    parts = round(mechanism.sensitivity)
    alone = laplace(epsilon=claim.epsilon / parts).mu
    assert alone is not None
    return math.sqrt(parts) * alone


def _on_curve(mu: float | None, delta: float) -> float | None:
    """ε at δ on the Gaussian curve of μ; None where there is none."""
    if mu is None or delta == 0:
        return None
    return gaussian.epsilon_for(mu, delta) if mu > 0 else 0.0


def in_chunks(scores: Scores, width: int, workers: int = 1) -> Drawn:
    """Scores with bounded memory: trials of `width` numbers are drawn some at a time, by so many threads.

    Each piece has a generator of its own, so that the scores do not depend on the number of threads.
    """
    rows = max(FLOATS_AT_ONCE // width, 1)

    def chunked(number: int, generator: np.random.Generator, report: Report) -> Floats:
        sizes = [min(rows, number - start) for start in range(0, number, rows)]
        sources = generator.spawn(len(sizes))
        # The threads of one matrix product would wait for each other while the others want the cores, and how many
        # there are shows in its last bits.
        with threadpool_limits(limits=1):
            if workers == 1:
                return _gathered(map(scores, sizes, sources), number, report)
            with ThreadPoolExecutor(workers) as pool:
                return _gathered(pool.map(scores, sizes, sources), number, report)

    return chunked


def _gathered(pieces: Iterable[Floats], number: int, report: Report) -> Floats:
    found: list[Floats] = []
    done = 0
    for piece in pieces:
        found.append(piece)
        done += len(piece)
        report(done / number)
    return np.concatenate(found)


def less_known(released: Released, known: Floats | Integers) -> Released:
    """What is released less what the attacker knows of it, shape (T,)."""

    def errors(counts: Integers) -> Sampler:
        draw = released(counts)
        return lambda trials, generator: draw(trials, generator) - known

    return errors


def simulated(mechanism: Mechanism, counts: Integers) -> Sampler:
    """What is published, in users; shape (trials, T)."""
    return lambda trials, generator: mechanism.simulate(counts, trials, generator)


def measured(mechanism: LinearMechanism, counts: Integers) -> Sampler:
    """The noisy measurements, in users; shape (trials, draws)."""
    exact = measurements(mechanism.strategy, counts)

    def draw(trials: int, generator: np.random.Generator) -> Floats:
        noise = mechanism.noise.seeded(generator, (trials, len(exact)))
        noise /= GRID
        noise += exact
        return noise

    return draw


def measurements(strategy: Strategy, counts: Integers) -> Floats:
    """The measurements without noise, in users; shape (draws,)."""
    secret, found = EMPTY_STATE.secret, []
    for tick, count in enumerate(counts.tolist()):
        exact, secret = strategy.measure(tick, secret, count)
        found.append(exact)
    return np.concatenate(found) / GRID
