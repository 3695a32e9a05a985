"""The path through the levels of adaptive-flippancy, and the audit along it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.auditing.adaptive_flippancy import adaptive_flippancy_case, worst_level_path
from dp.auditing.verdict import audit_case
from dp.mechanisms import design
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.noise import GaussianNoise
from dp.units import protected_class
from tests.laws import each

LOOSE = Guarantee(4.0, 1e-3)


def adaptive(horizon: int) -> AdaptiveFlippancy:
    (mechanism,) = calibrate_designs(
        [design("adaptive-flippancy", protected_class("user", 7, 2, horizon))], LOOSE, [1.0]
    )
    assert isinstance(mechanism, AdaptiveFlippancy)
    return mechanism


@each("horizon", [4, 12, 40])
def test_one_user_of_the_data_column_makes_the_change(horizon):
    """What the attack adds to the counts of each level is what the bounded series of that very user add."""
    mechanism = adaptive(horizon)
    path = worst_level_path(mechanism, 100, np.random.default_rng(1))
    presence = path.presence()
    for level, bound in enumerate(mechanism.bounds):
        flips = seen = 0
        there, frozen = [], []
        for now in presence.tolist():
            flips += now != seen
            seen = now
            there.append(now if flips <= bound else 0)
            frozen.append(flips > bound)
        added = (path.changed - path.counts)[:, 2 * level : 2 * level + 2]
        assert added.tolist() == [list(pair) for pair in zip(there, frozen, strict=True)]
        # At a level's own time the user is not frozen yet.
        assert not any(frozen[path.starts[level] : path.starts[level + 1]])
    assert presence[list(path.flips[0::2])].all()


def test_every_level_is_gone_through_and_its_worst_change_shown():
    mechanism = adaptive(40)
    path = worst_level_path(mechanism, 100, np.random.default_rng(1))
    _, levels = mechanism.rehearse(path.counts, 200, np.random.default_rng(2))
    on_the_way = np.repeat(np.arange(len(mechanism.bounds)), np.diff(path.starts))
    # The crowds never fail; a level may be left early by noise alone, in a tenth of the series at most (FALSE_ALARMS).
    assert (levels == on_the_way).all(axis=1).mean() > 0.85
    errors = (
        mechanism.simulate(path.counts, 40_000, np.random.default_rng(3)) - path.counts[np.arange(40), 2 * on_the_way]
    )
    scores = errors @ path.weights
    assert np.std(scores) == pytest.approx(path.mu, rel=0.05)
    assert path.mu < mu_for(*LOOSE)


@pytest.mark.slow
def test_adaptive_flippancy_is_not_flagged_and_a_quarter_of_its_noise_is():
    """Half the noise is not: the path through the levels shows half of μ."""
    mechanism = adaptive(40)
    quartered = replace(
        mechanism, levels=tuple(replace(one, noise=GaussianNoise(one.noise.scale // 4)) for one in mechanism.levels)
    )
    path = worst_level_path(mechanism, 100, np.random.default_rng(1))

    def audited_by(made: AdaptiveFlippancy):
        return audit_case(adaptive_flippancy_case(made, LOOSE, path), 40_000, np.random.default_rng(4))

    right = audited_by(mechanism)
    assert [one.view for one in right] == ["releases", "histogram"]
    assert not any(one.flagged for one in right)
    assert right[0].ratio > 0.4
    assert audited_by(quartered)[0].flagged


def test_too_few_ticks_for_the_levels_are_refused():
    mechanism = replace(adaptive(4), horizon=1)
    with pytest.raises(ValueError, match="the horizon has 1 ticks"):
        worst_level_path(mechanism, 100, np.random.default_rng(0))
