"""From a request to calibrated mechanisms: everything but data and randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dp.accounting.calibrate import JOINT_MECHANISM, calibrate_designs, calibrate_on_time, normalised, series_guarantee
from dp.accounting.composition import Guarantee
from dp.counts import Freeze
from dp.mechanisms import Mechanism, design, family_of
from dp.names import METRICS
from dp.noise import validate_level
from dp.release.request import Request, charged, spell_exceptions
from dp.release.sample import validate_sketch
from dp.units import protected_class


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
    def freeze(self) -> Freeze:
        """After how many flips the counts must leave a user out.

        None: never, the true counts are needed (for unit user by sparse-vector, and with on_time). A tuple: the counts
        for each of these bounds are needed, and how many users had more flips so far; shape (ticks, 2·bounds).
        """
        for series in self.series:
            if series.mechanism.bounds is not None:
                return series.mechanism.bounds
        return self.request.flip_bound if self.request.unit == "user" else None


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
    validate_sketch(request)
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


def _mechanisms(request: Request, shares: Sequence[float]) -> Sequence[Mechanism]:
    windows = list(request.windows.values())
    if request.on_time is None:
        designs = [
            design(request.mechanism, protected_class(request.unit, window, request.w_bound, request.horizon))
            for window in windows
        ]
        return calibrate_designs(designs, request.guarantee, shares)
    if request.unit != "user" or request.horizon is None:
        raise ValueError("on_time protects whole users over a horizon: it goes with unit user and a number of ticks")
    if request.mechanism != JOINT_MECHANISM:
        raise ValueError(f"on_time goes with mechanism {JOINT_MECHANISM!r} only, because its bounds need that strategy")
    if min(request.on_time) < 0:
        raise ValueError(f"on_time is {spell_exceptions(request.on_time)}; both are whole numbers, at least 0")
    if len(set(windows)) < len(windows):
        raise ValueError("on_time needs windows that differ; the same one twice tells nothing more")
    return calibrate_on_time(windows, request.horizon, request.guarantee, shares, request.on_time)
