"""Where a release's noise comes from: OpenDP's sampler, for every mechanism, and nowhere else."""

from __future__ import annotations

import itertools
import json
import random
import secrets
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import opendp.prelude
import pytest

import dp.noise
from dp.accounting import gaussian
from dp.accounting.calibrate import calibrate_linear, discretisation_slack
from dp.accounting.composition import Guarantee
from dp.ledger import open_ledger
from dp.mechanisms import EMPTY_STATE, GRID, MECHANISMS, LinearDesign
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.noise import GaussianNoise, LaplaceNoise, Noise
from dp.release import METRICS, Request, plan_release
from tests.oracles.stated import publish

FIRST, NOW = date(2026, 1, 1), datetime(2026, 6, 1)
TICKS = 24
KINDS = {"make_gaussian": GaussianNoise, "make_laplace": LaplaceNoise}


class Sampled(NamedTuple):
    """One call of OpenDP's sampler."""

    kind: type[Noise]
    scale: float
    draws: list[int]


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Sampled]]:
    """What OpenDP samples; other sources raise."""
    calls: list[Sampled] = []

    def recording(name: str, make: Callable[..., Callable[[list[int]], list[int]]]) -> Callable[..., object]:
        def made(*domain: object, scale: float) -> Callable[[list[int]], list[int]]:
            measurement = make(*domain, scale=scale)

            def measure(values: list[int]) -> list[int]:
                assert not any(values)
                calls.append(Sampled(KINDS[name], scale, measurement(values)))
                return calls[-1].draws

            return measure

        return made

    def refuse(*arguments: object, **options: object) -> object:
        raise AssertionError("noise of a release comes from OpenDP")

    for name in KINDS:
        monkeypatch.setattr(opendp.prelude.m, name, recording(name, getattr(opendp.prelude.m, name)))
    for module, names in ((np.random, np.random.__all__), (random, random.__all__), (secrets, secrets.__all__)):
        for name in names:
            # Classes stay, for other libraries say them in their types; a generator made of one is seen in the counts.
            if callable(getattr(module, name)) and not isinstance(getattr(module, name), type):
                monkeypatch.setattr(module, name, refuse)
    dp.noise._opendp_measurement.cache_clear()
    yield calls
    dp.noise._opendp_measurement.cache_clear()


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_a_release_is_the_counts_with_what_opendp_sampled(name, unit, tmp_path: Path, request: pytest.FixtureRequest):
    if name == "adaptive-flippancy" and unit == "user-day":
        pytest.skip("serves whole users")
    delta = 0.0 if MECHANISMS[name].delta == "none" else 1e-6
    metrics = {metric: METRICS[metric] for metric in ("dau", "mau")}
    asked = Request(metrics, unit, 2, Guarantee(1.0, delta), name, FIRST, TICKS, dict.fromkeys(metrics, 1.0))
    plan = plan_release(asked)
    columns = (2 * len(plan.freeze),) if isinstance(plan.freeze, tuple) else ()
    counts = np.full((TICKS, *columns), 1000)
    # What is random before sees no counts: the search for a strategy, and the name of the ledger.
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        sampled: list[Sampled] = request.getfixturevalue("sampled")
        rows = publish(ledger, "stream", "team", plan, dict.fromkeys(metrics, counts), NOW)
    assert sampled
    again = iter(sampled)

    def replayed(noise: Noise, size: int) -> np.ndarray:
        kind, scale, draws = next(again)
        assert (kind, scale, len(draws)) == (type(noise), noise.scale, size)
        return np.array(draws)

    for series in plan.series:
        _, expected = series.mechanism.run(EMPTY_STATE, counts, replayed, asked.ci_level)
        estimates = [row["estimate"] for row in map(json.loads, rows) if row["metric"] == series.metric]
        assert estimates == expected.estimates.tolist()
    assert not list(again)


@pytest.mark.parametrize("scale", [1, 1023, 1024, GRID, 2**52])
@pytest.mark.parametrize("kind", [GaussianNoise, LaplaceNoise])
def test_secure_draws_come_from_opendp_at_every_scale(kind, scale, sampled):
    draws = kind(scale).secure(5)
    assert sampled == [Sampled(kind, scale, draws.tolist())]


@pytest.mark.parametrize("size", [8, 9, 11])
@pytest.mark.parametrize("kind", [GaussianNoise, LaplaceNoise])
def test_many_draws_come_from_opendp_in_several_threads(kind, size, sampled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dp.noise, "DRAWS_IN_ONE_THREAD", 4)
    draws = kind(GRID).secure(size)
    assert draws.shape == (size,)
    assert draws.dtype == np.int64
    assert {(call.kind, call.scale) for call in sampled} == {(kind, GRID)}
    # Threads end in any order. No draw is used twice, and none that was made is left out.
    assert sorted(itertools.chain.from_iterable(call.draws for call in sampled)) == sorted(draws.tolist())
    assert max(len(call.draws) for call in sampled) <= 4


def test_what_touches_one_series_adds_up_over_all():
    """The slack of rounding is paid for every measurement of every series that one protected change can alter."""
    guarantee = Guarantee(1.0, 1e-9)
    # Scales of a few grid units, so that the slack is far above the last digit.
    designs = [
        LinearDesign("small", "gaussian", ToeplitzStrategy(()), sensitivity / GRID, touched)
        for sensitivity, touched in ((200.0, 40), (300.0, 25), (250.0, 60))
    ]
    first = gaussian.mu_for(*guarantee) / np.sqrt(3)
    scale = min(GRID * design.sensitivity for design in designs) / first
    scales = {}
    for touched in (40 + 25 + 60, 60):
        epsilon, delta = discretisation_slack(scale, touched, guarantee.epsilon)
        mu = gaussian.mu_for(guarantee.epsilon - epsilon, (guarantee.delta - delta) * (1 - epsilon)) / np.sqrt(3)
        scales[touched] = [int(np.ceil(GRID * design.sensitivity / mu)) for design in designs]
    assert [made.noise.scale for made in calibrate_linear(designs, guarantee, [1.0] * 3)] == scales[125]
    assert scales[125] != scales[60]
