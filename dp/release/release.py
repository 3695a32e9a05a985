"""Where counts meet noise: what a release promises, and the only way from a plan to rows (simulate_rows, publish).

Planning is pure: `plan_release` turns a request into calibrated mechanisms. `publish` charges the whole series first,
then draws, commits and returns; `simulate_rows` rehearses it with seeded draws.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import LEVELS_BY, calibrate, calibrate_on_time, normalised, series_guarantee
from dp.accounting.composition import Guarantee
from dp.intervals import sample as sample_intervals
from dp.ledger import Budget, Ledger, LedgerError
from dp.mechanisms import EMPTY_STATE, LinearMechanism, Mechanism, State, design, family_of
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.joint import Exceptions
from dp.mechanisms.protocol import MOST_USERS, Released, Source
from dp.noise import Noise, validate_level
from dp.units import protected_class

Counts = NDArray[np.int64]
Freeze = int | tuple[int, ...] | None

METRICS: dict[str, int] = {"dau": 1, "wau": 7, "mau": 30}
"""Trailing window of each metric, in days; MAU may also be asked for with 28."""


@dataclass(frozen=True)
class Sample:
    """The users whom a release by the sketch fixed-rate counts; salts are named by their fingerprints.

    Attributes:
        rate: their share.
        salt: in force at the first tick; a stream is not continued with another.
        rotations: ticks at which another salt comes into force, and with it another sample, ascending, as far as is
            known. They may be decided while a stream is running, so its later calls need not repeat those to come.
    """

    rate: float
    salt: str
    rotations: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Request:
    """What someone asks to be published; the public parameters of a stream.

    Attributes:
        windows: metric name → trailing window in days.
        unit: who is protected, "user-day" or "user".
        w_bound: most flips of the protected change; without effect where the mechanism needs no such bound.
        guarantee: of all series together, over the whole horizon; δ is 0 for Laplace noise.
        mechanism: a name in `dp.mechanisms.MECHANISMS`.
        first: first tick.
        horizon: number of ticks that the guarantee covers, None for no end.
        shares: how the series divide the budget (μ² or ε); one positive number each, normalised.
        ci_level: level of the pointwise intervals.
        on_time: for the unit user, protects whoever acts on time with at most these exceptions: nobody is frozen, and
            the series are calibrated for their joint worst case (docs/guarantees.md, section 14).
        sketch: what counts the users, a name in `dp.sketches.SKETCHES` whose counts a mechanism can make private.
        sample: for the sketch fixed-rate, whom it counts; the counts given are then those of the sample.
    """

    windows: Mapping[str, int]
    unit: str
    w_bound: int
    guarantee: Guarantee
    mechanism: str
    first: date
    horizon: int | None
    shares: Mapping[str, float]
    ci_level: float = 0.95
    on_time: Exceptions | None = None
    sketch: str = "exact"
    sample: Sample | None = None

    @property
    def flip_bound(self) -> int | None:
        """W_BOUND, None where the guarantee is for none."""
        return self.w_bound if uses_w_bound(self.mechanism) and self.on_time is None else None

    def specification(self) -> dict[str, Any]:
        """The request as plain JSON values: what a stream's later calls must repeat."""
        plain = asdict(self)
        # Streams of before this was an option say nothing of it.
        if plain.pop("on_time") is not None:
            plain["on_time"] = _spelt(self.on_time)
        if self.sketch == "exact":
            del plain["sketch"]
        del plain["sample"]
        if self.sample is not None:
            plain["sample"] = {"rate": self.sample.rate, "salt": self.sample.salt}
        return {
            **plain,
            "w_bound": self.flip_bound,
            "windows": dict(self.windows),
            "shares": dict(self.shares),
            "guarantee": list(self.guarantee),
            "first": self.first.isoformat(),
        }


@dataclass(frozen=True)
class Series:
    """One metric of a plan: its calibrated mechanism and what it promises on its own."""

    metric: str
    window: int
    mechanism: Mechanism
    guarantee: Guarantee


@dataclass(frozen=True)
class Plan:
    """A request with its noise: everything but data and randomness."""

    request: Request
    series: tuple[Series, ...]

    @property
    def guarantee(self) -> Guarantee:
        """What the whole release promises, and what it is charged."""
        return self.request.guarantee

    @property
    def freeze(self) -> Freeze:
        """After how many flips the counts must leave a user out.

        None: never, the true counts are needed (for unit user by sparse-vector, and with on_time). A tuple: the counts
        for each of these bounds are needed, and how many users had more flips so far; shape (ticks, 2·bounds).
        """
        for series in self.series:
            if isinstance(series.mechanism, AdaptiveFlippancy):
                return series.mechanism.bounds
        frozen = freezes(self.request.unit, self.request.mechanism) and self.request.on_time is None
        return self.request.w_bound if frozen else None


def uses_w_bound(mechanism: str) -> bool:
    """Whether a mechanism's guarantee is for a given W_BOUND; sparse-vector and adaptive-flippancy need none."""
    return family_of(mechanism).strategy is not None


def freezes(unit: str, mechanism: str) -> bool:
    """Whether the counts of a series must leave users out after W_BOUND flips."""
    return unit == "user" and uses_w_bound(mechanism)


def plan_release(request: Request) -> Plan:
    """Choose and calibrate a mechanism for every series.

    Raises:
        ValueError: a parameter is out of range, unknown, or does not fit the mechanism; the message names it.
    """
    if not request.windows:
        raise ValueError("no metric was asked for; choose one or more of " + ", ".join(METRICS))
    if set(request.shares) != set(request.windows):
        raise ValueError(f"shares are for {sorted(request.shares)} but the metrics are {sorted(request.windows)}")
    if not 0 <= request.guarantee.delta < 1:
        raise ValueError(f"delta is {request.guarantee.delta}; it must lie between 0 and 1, for instance 1e-6")
    validate_level(request.ci_level)
    if family_of(request.mechanism).delta == "needed" and request.guarantee.delta == 0:
        raise ValueError(
            f"delta is 0, but {request.mechanism} draws Gaussian noise, which needs 0 < delta < 1; "
            "for pure epsilon choose laplace, binary-tree-laplace or sparse-vector"
        )
    _validate_sketch(request)
    shares = normalised([request.shares[metric] for metric in request.windows], len(request.windows))
    mechanisms = _mechanisms(request, shares)
    alone = len(mechanisms) == 1
    return Plan(
        request,
        tuple(
            Series(
                metric,
                window,
                mechanism,
                charged(request) if alone else series_guarantee(mechanism, request.guarantee, share),
            )
            for (metric, window), mechanism, share in zip(request.windows.items(), mechanisms, shares, strict=True)
        ),
    )


def _validate_sketch(request: Request) -> None:
    """Refuse what has no proof; whatever is private for counts is private for those of a fixed sample."""
    if (request.sketch, request.sample) == ("exact", None):
        # Sketches take their time to import, and most releases have none.
        return
    from dp.sketches import family_of as sketch_family

    if refusal := sketch_family(request.sketch).refusal:
        raise ValueError(f"sketch is {request.sketch!r}, whose counts no mechanism here makes private: {refusal}")
    sample = request.sample
    if (request.sketch == "fixed-rate") != (sample is not None):
        raise ValueError(f"sketch is {request.sketch!r}; a rate goes with the sketch 'fixed-rate', and only with it")
    if sample is None:
        return
    if not sample_intervals.validate_rate(sample.rate) < 1:
        raise ValueError("rate is 1, which keeps everybody: that is the sketch 'exact'")
    if sample.rotations:
        _validate_rotations(request, [tick for tick, _ in sample.rotations])


def _validate_rotations(request: Request, ticks: Sequence[int]) -> None:
    """Refuse changes of the sample that would make a change of one user longer or more broken than its class."""
    days = ", ".join((request.first + timedelta(days=tick)).isoformat() for tick in ticks)
    remedy = f"other salts come into force on {days}; release with a salt file of its own, which stays as it is"
    if request.mechanism == "adaptive-flippancy" or request.on_time is not None:
        name = "on_time" if request.on_time is not None else "adaptive-flippancy"
        raise ValueError(f"{name} needs one sample over the whole horizon, and {remedy}")
    if not uses_w_bound(request.mechanism):
        return
    if request.unit == "user" and request.w_bound % 2 == 1:
        raise ValueError(
            f"w_bound is {request.w_bound}, which freezes users while they are present; it must be even where a salt "
            f"changes within the horizon, and {remedy}"
        )
    if request.unit == "user" and len(ticks) > 1:
        raise ValueError(
            "with unit 'user' one salt may change within the horizon, for a user who is in the sample, out of it and "
            f"in it again changes presence more often than W_BOUND allows, and {remedy}"
        )
    longest = max(request.windows.values())
    if min(np.diff(ticks), default=longest) < longest:
        raise ValueError(
            f"salts must be {longest} days apart, the longest window, so that no change falls under three of them, and "
            f"{remedy}"
        )


def _mechanisms(request: Request, shares: Sequence[float]) -> Sequence[Mechanism]:
    windows = list(request.windows.values())
    if request.on_time is None:
        designs = [
            design(request.mechanism, protected_class(request.unit, window, request.w_bound, request.horizon))
            for window in windows
        ]
        return calibrate(designs, request.guarantee, shares)
    if request.unit != "user" or request.horizon is None:
        raise ValueError("on_time protects whole users over a horizon: it goes with unit user and a number of ticks")
    if request.mechanism != LEVELS_BY:
        raise ValueError(f"on_time goes with mechanism {LEVELS_BY!r} only, because its bounds need that strategy")
    if min(request.on_time) < 0:
        raise ValueError(f"on_time is {_spelt(request.on_time)}; both are whole numbers, at least 0")
    if len(set(windows)) < len(windows):
        raise ValueError("on_time needs windows that differ; the same one twice tells nothing more")
    return calibrate_on_time(windows, request.horizon, request.guarantee, shares, request.on_time)


def _spelt(exceptions: Exceptions | None) -> str | None:
    return exceptions and f"removals={exceptions.removals},late={exceptions.late}"


def simulate_rows(plan: Plan, counts: Mapping[str, Counts], seed: int) -> list[dict[str, Any]]:
    """One simulated release as rows; every row says `secure: false` and nothing is charged.

    Args:
        counts: see `publish`.
    """
    checked = _checked_counts(plan, counts)
    # Every series has its own generator, so that asking for another metric leaves the others' noise as it was.
    return [
        row
        for series in plan.series
        for row in _rows(
            plan,
            series,
            0,
            _rehearse(series.mechanism, checked[series.metric], _generator(seed, series.metric), plan.request),
            remaining=None,
        )
    ]


def _rehearse(mechanism: Mechanism, counts: Counts, generator: np.random.Generator, request: Request) -> _Drawn:
    def source(noise: Noise, size: int) -> Counts:
        return noise.seeded(generator, (size,)).astype(np.int64)

    return _draw(mechanism, EMPTY_STATE, counts, source, request)[1]


def _secure(noise: Noise, size: int) -> Counts:
    return noise.secure(size)


class _Drawn(NamedTuple):
    """What consecutive ticks publish, and what only some mechanisms say of a tick: columns that go into its row."""

    released: Released
    extra: Sequence[Mapping[str, Any]]


def _draw(mechanism: Mechanism, state: State, counts: Counts, source: Source, request: Request) -> tuple[State, _Drawn]:
    independent = isinstance(mechanism, LinearMechanism)
    level, sample = request.ci_level, request.sample
    if sample is not None and not independent:
        level = sample_intervals.bound_level(level)
    if isinstance(mechanism, AdaptiveFlippancy):
        state, released, path = mechanism.trace(state, counts, source, level)
        bias = mechanism.bias_bound(level)
        if sample is not None:
            bias = sample_intervals.most_users(bias, sample.rate, 1 - level)
        extra = [{"w_bound": mechanism.bounds[here], "bias_bound": float(bias[here])} for here in path.tolist()]
    else:
        state, released = mechanism.run(state, counts, source, level)
        extra = [{}] * len(counts)
    drawn = _Drawn(released, extra)
    return state, drawn if sample is None else _for_all_users(drawn, sample.rate, request.ci_level, independent)


def _for_all_users(drawn: _Drawn, rate: float, level: float, independent: bool) -> _Drawn:
    """What was released of a sample, as a statement on all users: intervals cover noise and sampling together.

    Args:
        independent: the noise is that of a linear mechanism; else its intervals say all that is known of the error.
    """
    estimates, low, high, deviations = drawn.released
    if independent:
        ends = sample_intervals.interval(estimates, low, high, deviations, rate, level)
    else:
        ends = sample_intervals.interval_of_bounds(low, high, rate, level)
    sampling = np.sqrt(np.maximum(estimates, 0.0) * (1 - rate)) / rate
    extra = [
        {"rate": rate, "noise_low": _number(first), "noise_high": _number(last), "sketch_std": float(error), **columns}
        for first, last, error, columns in zip(low / rate, high / rate, sampling, drawn.extra, strict=True)
    ]
    return _Drawn(Released(estimates / rate, *ends, deviations / rate), extra)


def publish(
    ledger: Ledger,
    stream: str,
    budget: str,
    plan: Plan,
    counts: Mapping[str, Counts],
    now: datetime,
    data: str = "",
    arrived: Callable[[date], str] | None = None,
) -> list[str]:
    """Charge, draw, commit, and only then return the release, one JSON row per series and tick.

    Ticks that the stream has published before come back byte for byte; only later ones are drawn. The charge is for
    the whole horizon and happens once, before any noise exists.

    Args:
        stream: idempotent key.
        counts: metric → counts from the first tick on, frozen as `plan.freeze` says, of the sample where the request
            has one; may reach further than in earlier calls.
        data: names the data the stream is bound to, where it is to be bound to a fixed log.
        arrived: names the operations that had arrived by the end of a day. A stream can be continued only where the
            past is as it was: this name, where it is given, and in any case the true counts.

    Raises:
        BudgetExhausted: nothing was charged or released.
        LedgerError: the stream exists with other parameters, noise or past.
        ValueError: counts are missing, no whole numbers, or longer than the horizon; nothing was charged.
    """
    counts = _checked_counts(plan, counts)
    longest = max(len(series) for series in counts.values())
    ledger.charge(stream, budget, charged(plan.request), {**plan.request.specification(), "data": data}, now)
    # All series of a call ask for the same days.
    arrived = arrived and functools.cache(arrived)
    with ledger.transaction():
        remaining = ledger.budget(budget)
        for series in plan.series:
            _publish_series(ledger, stream, plan, series, counts[series.metric], remaining, arrived)
    return published(ledger, stream, plan.request.windows, longest)


def published(ledger: Ledger, stream: str, metrics: Sequence[str] | Mapping[str, int], ticks: int) -> list[str]:
    """The first `ticks` rows of every metric as they were published, fewer where fewer exist."""
    return [row for metric in metrics for row in ledger.releases(stream, metric)[:ticks]]


def charged(request: Request) -> Guarantee:
    """What a ledger is charged: the guarantee of the whole release, with δ = 0 for pure noise."""
    pure = family_of(request.mechanism).delta == "none"
    return Guarantee(request.guarantee.epsilon, 0.0 if pure else request.guarantee.delta)


def protected(request: Request) -> str:
    """Whom the guarantee protects, in plain words."""
    if request.unit == "user":
        everything = "everything that one user ever does"
        if request.on_time is not None:
            removals, late = request.on_time
            return (
                f"{everything} on the day itself and for good, with at most {removals} removals and {late} late "
                "days (activity before the first tick counts as one of them); nobody is frozen"
            )
        if freezes(request.unit, request.mechanism):
            return f"{everything}, a user being frozen after {request.w_bound} changes of presence"
        if request.mechanism == "sparse-vector":
            return f"{everything}, however often the user's presence changes; nobody is frozen"
        return f"{everything}, a user being frozen after as many changes of presence as the rows say (W_BOUND)"
    change = "one user's activity on one day with its later retraction"
    if uses_w_bound(request.mechanism):
        return f"{change}, as long as that changes the user's presence at most {request.w_bound} times"
    return f"{change}, however often that changes the user's presence"


def promise(request: Request) -> str:
    """In one plain sentence: what is promised to whom."""
    epsilon, delta = charged(request)
    span = "however many days are published" if request.horizon is None else f"over all {request.horizon} days together"
    return f"Promised: ({epsilon:g}, {delta:g})-differential privacy {span}, for {protected(request)}."


def default_stream(specification: Mapping[str, Any], data: str) -> str:
    """A key made of the public parameters and the data's fingerprint: the same command means the same stream."""
    text = json.dumps({**specification, "data": data}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _StreamState:
    """What a stream keeps between calls: how to go on, and what must not have changed.

    Attributes:
        state: what the mechanism needs of the past.
        mechanism: names strategy and noise; a stream drawn with two of them is covered by no certificate.
        counts: names the true counts of all published ticks, and the salts of a sample.
        operations: names the operations they were counted from, where the caller can tell.
    """

    state: State
    mechanism: str
    counts: str
    operations: str | None

    def text(self) -> str:
        tick, secret, public = self.state
        return json.dumps([tick, secret.tolist(), public.tolist(), self.mechanism, self.counts, self.operations])


def _state_from(text: str) -> _StreamState:
    tick, secret, public, mechanism, counts_name, operations = json.loads(text)
    state = State(tick, np.array(secret, dtype=np.int64), np.array(public, dtype=np.float64))
    return _StreamState(state, mechanism, counts_name, operations)


def _publish_series(
    ledger: Ledger,
    stream: str,
    plan: Plan,
    series: Series,
    counts: Counts,
    budget: Budget,
    arrived: Callable[[date], str] | None,
) -> None:
    stored = ledger.state(stream, series.metric)
    before = _state_from(stored) if stored else None
    state = before.state if before else EMPTY_STATE
    fresh = counts[state.tick :]
    if not len(fresh):
        return

    def name_arrived(ticks: int) -> str | None:
        return arrived(plan.request.first + timedelta(days=ticks - 1)) if arrived else None

    mechanism = _name_mechanism(series.mechanism)
    if before:
        counted = _name_counts(counts[: state.tick], plan.request.sample)
        _validate_continuation(stream, before, mechanism, counted, name_arrived, plan.request.sample is not None)
    after, drawn = _draw(series.mechanism, state, fresh, _secure, plan.request)
    rows = _rows(plan, series, state.tick, drawn, remaining=budget)
    stored_next = _StreamState(after, mechanism, _name_counts(counts, plan.request.sample), name_arrived(len(counts)))
    ledger.append(stream, series.metric, state.tick, [json.dumps(row) for row in rows], stored_next.text())


def _validate_continuation(
    stream: str,
    before: _StreamState,
    mechanism: str,
    counts: str,
    name_arrived: Callable[[int], str | None],
    sampled: bool,
) -> None:
    """Refuse to go on where the guarantee would not carry over.

    W_BOUND is enforced, and a change's hull is what it is, over one log that only grows; noise is certified for one
    strategy.
    """
    if mechanism != before.mechanism:
        raise LedgerError(
            f"stream {stream!r} was drawn with another strategy or noise than this version computes; "
            "continue it with the version that opened it, or open another --stream"
        )
    changed = counts != before.counts
    if not changed and before.operations is not None:
        operations = name_arrived(before.state.tick)
        changed = operations is not None and operations != before.operations
    if changed:
        raise LedgerError(
            f"stream {stream!r} cannot be continued: the log's past is not what it was when its {before.state.tick} "
            "published ticks were counted. Rows that arrive late need their arrival in the column 'at', and taking "
            "activity back is a row ('-' or 'erase'), not a missing one"
            + ("; and no salt may come into force on a day that is published already" if sampled else "")
        )


def _name_mechanism(mechanism: Mechanism) -> str:
    return _digest(list(mechanism.describe().values()))


def _name_counts(counts: Counts, sample: Sample | None) -> str:
    """Names the counts of all ticks so far and, of a sample, the salts that chose it."""
    if sample is None:
        return _digest(counts.tolist())
    return _digest([counts.tolist(), sample.salt, [change for change in sample.rotations if change[0] < len(counts)]])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def _rows(plan: Plan, series: Series, start: int, drawn: _Drawn, *, remaining: Budget | None) -> list[dict[str, Any]]:
    request = plan.request
    whole = charged(plan.request)
    return [
        {
            "metric": series.metric,
            "window": series.window,
            "day": (request.first + timedelta(days=start + index)).isoformat(),
            "estimate": float(estimate),
            "ci_low": _number(low),
            "ci_high": _number(high),
            "ci_level": request.ci_level,
            "std": _number(deviation),
            "epsilon": series.guarantee.epsilon,
            "delta": series.guarantee.delta,
            "epsilon_total": whole.epsilon,
            "delta_total": whole.delta,
            "mechanism": request.mechanism,
            "sketch": request.sketch,
            "unit": request.unit,
            "w_bound": request.flip_bound,
            "horizon": request.horizon,
            "budget": remaining.name if remaining else None,
            "budget_remaining": remaining.remaining.epsilon if remaining else None,
            "secure": remaining is not None,
            **({"on_time": _spelt(request.on_time)} if request.on_time is not None else {}),
            **extra,
        }
        for index, (estimate, low, high, deviation, extra) in enumerate(zip(*drawn.released, drawn.extra, strict=True))
    ]


def _number(value: float) -> float | None:
    """A number for JSON, which knows no infinity: None where there is no bound, or no deviation that could be told."""
    return float(value) if math.isfinite(value) else None


def _checked_counts(plan: Plan, counts: Mapping[str, Counts]) -> dict[str, Counts]:
    """The counts of every series, refused before anything is charged where they cannot be released."""
    checked = {}
    for series in plan.series:
        if series.metric not in counts:
            raise ValueError(f"counts of {series.metric} are missing")
        values = np.asarray(counts[series.metric])
        columns = (2 * len(plan.freeze),) if isinstance(plan.freeze, tuple) else ()
        if values.shape[1:] != columns:
            raise ValueError(
                f"counts of {series.metric} have the shape {values.shape}; {('ticks', *columns)} is needed "
                f"for {plan.request.mechanism}"
            )
        if np.any((values < 0) | (values > MOST_USERS) | (values != np.floor(values))):
            raise ValueError(f"counts of {series.metric} must be whole numbers between 0 and 2^36")
        if plan.request.horizon is not None and len(values) > plan.request.horizon:
            raise ValueError(
                f"{len(values)} ticks were asked for, but the guarantee covers a horizon of {plan.request.horizon}"
            )
        checked[series.metric] = values.astype(np.int64)
    return checked


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


__all__ = [
    "METRICS", "Plan", "Request", "Sample", "Series", "charged", "default_stream", "freezes", "plan_release", "promise",
    "protected", "publish", "published", "simulate_rows", "uses_w_bound",
]  # fmt: skip
