"""What noise on a sketch's estimate promises: the contract of fixed-rate measured, and the refusals shown to be right.

Power of the audit: 40,000 releases with and without one user, split. At a claim of ε = 1 the lower bound for one
release with Laplace noise of the right scale lies between 0.85 and 1; with half the noise above 1.5 (asserted).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.release import Request, Sample, plan_release
from dp.sketches import SKETCHES
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.protocol import Sketch, SketchDesign
from tests.dp.test_privacy_statistics import epsilon_lower_bound

pytestmark = pytest.mark.slow

TRIALS = 40_000
EPSILON = 1.0
RATE = 0.1
NOT_PRIVATE = ("kmv", "theta", "hll", "cpc")


def measured(estimate_without: float, estimate_with: float, scale: float) -> float:
    """The ε that estimates with Laplace noise of that scale disprove."""
    generator = np.random.default_rng(20261123)
    noise = generator.laplace(0.0, scale, (2, TRIALS))
    sign = 1 if estimate_with >= estimate_without else -1
    return epsilon_lower_bound(sign * (estimate_without + noise[0]), sign * (estimate_with + noise[1]), 0.0)


def keys(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**63), 2**63, count)


def test_one_user_moves_a_sample_by_one_over_its_rate_at_most_whatever_the_salt() -> None:
    design = FixedRate(RATE)
    before = design.empty().add(keys(20_000, 1))
    moves = {round(before.add(key[None]).estimate() - before.estimate(), 9) for key in keys(300, 2)}
    assert moves == {0.0, round(1 / RATE, 9)}


def test_a_sample_with_noise_for_its_sensitivity_keeps_its_claim() -> None:
    design = FixedRate(RATE)
    sketch = design.empty().add(keys(2000, 1))
    chosen = design.kept(keys(300, 2))[:1]
    pair = sketch.estimate(), sketch.add(chosen).estimate()
    assert 0.8 < measured(*pair, 1 / (EPSILON * RATE)) <= EPSILON
    assert measured(*pair, 0.5 / (EPSILON * RATE)) > 1.5, "half the noise"
    assert measured(*pair, 1 / EPSILON) > 2, "noise for a count, put on the estimate"


def test_the_release_of_a_sample_keeps_its_claim_over_the_whole_series() -> None:
    """The likelihood-ratio statistic of whole series, with one protected user-day in the sample and without.

    Gaussian noise at δ = 1e-6 shows its ε far out in the tails only, so 40,000 releases see about 0.4 of it.
    """
    sample = Sample(RATE, "salt")
    request = Request(
        {"wau": 7}, "user-day", 2, Guarantee(EPSILON, 1e-6), "damped-square-root", date(2026, 1, 1), 21, {"wau": 1.0},
        sketch="fixed-rate", sample=sample,
    )  # fmt: skip
    mechanism = plan_release(request).series[0].mechanism
    counts, change = np.full(21, 400), np.zeros(21, dtype=np.int64)
    change[9:16] = 1
    generator = np.random.default_rng(5)
    without, with_user = (mechanism.simulate(series, TRIALS, generator) for series in (counts, counts + change))
    # The direction in which the two differ most, learnt from the covariance of the noise.
    direction = np.linalg.solve(np.cov(without.T), change)
    claim = epsilon_lower_bound(without @ direction, with_user @ direction, 1e-6)
    assert 0.3 < claim <= EPSILON
    # The twin puts the noise of a count on the estimate, which one user moves by 1/rate.
    wrong = mechanism.simulate(counts + round(1 / RATE) * change, TRIALS, generator)
    assert epsilon_lower_bound(without @ direction, wrong @ direction, 1e-6) > 3 * EPSILON


def test_a_sample_has_the_noise_of_the_count_for_every_mechanism() -> None:
    """The proof of section 16.1 says that nothing about the noise depends on the rate."""
    for mechanism in ("laplace", "binary-tree", "optimal", "sparse-vector"):
        request = Request(
            {"mau": 30}, "user", 4, Guarantee(EPSILON, 1e-6), mechanism, date(2026, 1, 1), 40, {"mau": 1.0}
        )  # fmt: skip
        exact = plan_release(request).series[0].mechanism
        sampled = plan_release(replace(request, sketch="fixed-rate", sample=Sample(0.01, "salt"))).series[0].mechanism
        assert sampled.describe() == exact.describe()


@pytest.mark.parametrize("name", NOT_PRIVATE)
def test_noise_of_one_over_epsilon_on_a_raw_estimate_is_caught(name: str) -> None:
    """One user whom a public hash exposes, among those who might have been active."""
    design: SketchDesign = SKETCHES[name].make()
    before = design.empty().add(keys(100_000, 1))
    moves = [(canonical(design, before.add(key[None])), key) for key in keys(3000, 2)]
    moved = max(abs(after - canonical(design, before)) for after, _ in moves)
    assert moved > 20, "one user moves the estimate by far more than 1"
    assert measured(0.0, moved, 1 / EPSILON) > 3 * EPSILON
    assert SKETCHES[name].contract.kind == "none"
    assert SKETCHES[name].refusal


def canonical(design: SketchDesign, sketch: Sketch) -> float:
    """The estimate from what the sketch holds, not from the order in which it came."""
    return design.empty().merge(sketch).estimate()


@pytest.mark.parametrize("name", [name for name, family in SKETCHES.items() if family.contract.kind == "sensitivity"])
def test_what_promises_a_sensitivity_has_it(name: str) -> None:
    family = SKETCHES[name]
    design = family.make(**({"rate": RATE} if name == "fixed-rate" else {}))
    users = np.arange(400) if family.keys == "number" else keys(400, 3)
    most = 1 / RATE if name == "fixed-rate" else 1.0
    sketch = design.empty().add(users[:300])
    for user in users:
        with_user, without = sketch.add(user[None]).estimate(), sketch.remove(user[None]).estimate()
        assert with_user - without in (0.0, pytest.approx(most))
    assert not family.refusal
