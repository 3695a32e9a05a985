"""The audit of a mechanism or a sketch by its name: what `dpdau audit` does for one of them."""

from __future__ import annotations

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.mechanisms import audit_mechanism
from dp.auditing.result import Audit
from dp.names import METRICS
from dp.units import protected_class


def audit(
    mechanism: str | None = None,
    *,
    sketch: str | None = None,
    epsilon: float = 1.0,
    delta: float = 1e-6,
    metric: str = "mau",
    unit: str = "user-day",
    w_bound: int = 2,
    horizon: int | None = 365,
    trials: int = 100_000,
    seed: int = 0,
) -> list[Audit]:
    """Attack a mechanism or a sketch: a lower bound on the ε that it really has, against the ε that it promises.

    The command `dpdau audit` gives the same results for the same numbers; its default is a million trials.

    Args:
        mechanism: name of a mechanism; give this or `sketch`.
        sketch: name of a sketch; metric, unit, w_bound and horizon play no part.
        epsilon: promised for the whole series, or for one published sketch.
        delta: promised with it; what is private without a δ ignores it.
        metric: dau, wau or mau.
        unit: whom the guarantee protects, user-day or user.
        w_bound: the most flips of presence of what is protected.
        horizon: ticks that the guarantee covers; None for no end.
        trials: simulated releases, half of them with the worst change.
        seed: of the simulated noise.

    Returns:
        One result for each test, which share a flag level of 1 %; `Audit.row` gives it as a row of a table.

    Raises:
        ValueError: neither or both of mechanism and sketch are given, one is unknown, or a number is out of range.

    Examples:
        >>> from dp.auditing import audit
        >>> for result in audit("gaussian", metric="wau", horizon=20, trials=2_000):
        ...     print(result.view, result.claim.epsilon, result.flagged)
        releases 1.0 False
        histogram 1.0 False
    """
    if (mechanism is None) == (sketch is None):
        raise ValueError(f"mechanism is {mechanism!r} and sketch {sketch!r}; give exactly one of them")
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}; choose one of {', '.join(METRICS)}")
    promised = Guarantee(epsilon, delta)
    if mechanism is not None:
        protected = protected_class(unit, METRICS[metric], w_bound, horizon)
        return audit_mechanism(mechanism, protected, promised, trials, subject_generator(seed, mechanism))
    from dp.auditing.sketches import audit_sketch

    assert sketch is not None
    return audit_sketch(sketch, promised, trials, subject_generator(seed, sketch))


def subject_generator(seed: int, name: str) -> np.random.Generator:
    """A generator of the subject's own: audited alone, a subject has the results that it has among others."""
    return np.random.default_rng([seed, *name.encode()])
