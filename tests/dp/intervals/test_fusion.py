"""Fusions: closed forms of filters, dense least squares, series longer than a block, and weights that are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dp.intervals import fusion
from dp.intervals.error_covariance import BLOCK, ErrorCovariance
from dp.intervals.fusion import Fusion, fuse
from tests.laws import each


def random_walk(ticks: int, variance: float) -> ErrorCovariance:
    return ErrorCovariance.of_coefficients(np.ones(ticks), math.sqrt(variance))


def damped(ticks: int, damping: float, deviation: float) -> ErrorCovariance:
    """The errors of a damped square root."""
    index = np.arange(1, ticks)
    coefficients = np.concatenate([[1.0], np.cumprod(damping * (index - 0.5) / index)])
    return ErrorCovariance.of_coefficients(coefficients, deviation)


def as_matrix(fused: Fusion, number: int, ticks: int) -> np.ndarray:
    """The weights, shape (ticks, series · ticks)."""
    units = np.eye(number * ticks).reshape(-1, number, ticks)
    return fused.estimates(units.transpose(1, 0, 2)).T


def joint(covariances: list[ErrorCovariance]) -> np.ndarray:
    """The covariance of all measurements, series after series."""
    ticks = covariances[0].ticks
    return np.block([[one.block(0, ticks) * (one is other) for other in covariances] for one in covariances])


# --- What a covariance is --------------------------------------------------------------------------------------------


def test_a_covariance_is_that_of_its_decoder():
    decoder = np.random.default_rng(1).normal(size=(6, 9))
    assert ErrorCovariance.of_decoder(decoder, 3.0).block(1, 5) == pytest.approx(9 * (decoder @ decoder.T)[1:5, 1:5])


def test_toeplitz_coefficients_and_their_matrix_are_the_same():
    coefficients = np.array([1.0, 0.5, 0.3, -0.2])
    matrix = sum(np.diag(np.full(4 - lag, value), -lag) for lag, value in enumerate(coefficients))
    ours, dense = ErrorCovariance.of_coefficients(coefficients, 2.0), ErrorCovariance.of_decoder(matrix, 2.0)
    assert ours.block(0, 4) == pytest.approx(dense.block(0, 4))
    assert ours.ratio(dense.times(0.5)) == pytest.approx(2)
    assert ours.ratio(random_walk(4, 1.0)) is None
    assert ours.independent_deviation is None
    assert ErrorCovariance.independent(4, 2.5).independent_deviation == pytest.approx(2.5)


@each("deviation", [0.0, -1.0, math.inf, math.nan])
def test_a_deviation_that_is_none_is_refused(deviation):
    with pytest.raises(ValueError, match="deviation is"):
        ErrorCovariance.independent(3, deviation)


def test_measurements_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"for \[3, 4\] ticks"):
        fuse([random_walk(3, 1.0), random_walk(4, 1.0)])
    with pytest.raises(ValueError, match="for no ticks"):
        fuse([])


# --- Closed forms ----------------------------------------------------------------------------------------------------


@each("share", [0.2, 1.0, 30.0])
def test_flows_and_counts_with_white_noise_are_a_kalman_filter(share):
    # Posterior variance P of a random walk with steps q, seen with noise r: P² + qP = qr (Kalman 1960).
    r, q = 4.0, 4.0 * share
    fused = fuse([ErrorCovariance.independent(60, 2.0), random_walk(60, q)])
    p = (-q + math.sqrt(q * q + 4 * q * r)) / 2
    assert fused.variances[-1] == pytest.approx(p)
    assert fused.change_variances[-1] == pytest.approx(2 * (1 - p / r) * q)
    assert fused.variances[0] == pytest.approx(1 / (1 / r + 1 / q))


def test_proportional_covariances_give_the_weighted_mean():
    fused = fuse([damped(9, 0.9, 1.0), damped(9, 0.9, 2.0)])
    first, second = np.random.default_rng(2).normal(size=(2, 9))
    assert fused.estimates(np.array([first, second])) == pytest.approx(0.8 * first + 0.2 * second)
    assert fused.variances == pytest.approx(0.8 * damped(9, 0.9, 1.0).lagged[0])


def test_one_measurement_is_left_alone():
    covariance = damped(9, 0.9, 1.5)
    fused = fuse([covariance])
    values = np.random.default_rng(3).normal(size=9)
    change = np.eye(9) - np.eye(9, k=-1)
    assert np.array_equal(fused.estimates(values[np.newaxis]), values)
    assert fused.variances == pytest.approx(np.diag(covariance.block(0, 9)))
    assert fused.change_variances == pytest.approx(np.diag(change @ covariance.block(0, 9) @ change.T))


# --- Dense least squares ---------------------------------------------------------------------------------------------


@each("number", [2, 3, 4])
def test_every_tick_is_the_least_squares_of_its_past(number):
    generator, ticks = np.random.default_rng(number), 6
    decoders = np.tril(generator.normal(size=(number, ticks, ticks))) + 2 * np.eye(ticks)
    covariances = [ErrorCovariance.of_decoder(decoder, 1.0) for decoder in decoders]
    fused = fuse(covariances)
    ours = as_matrix(fused, number, ticks).reshape(ticks, number, ticks)
    for tick in range(ticks):
        precisions = [np.linalg.inv(one.block(0, tick + 1)) for one in covariances]
        best = np.linalg.inv(sum(precisions))[-1]
        assert ours[tick, :, : tick + 1] == pytest.approx(np.array([best @ one for one in precisions]))
        assert not ours[tick, :, tick + 1 :].any()
        assert fused.variances[tick] == pytest.approx(np.linalg.inv(sum(precisions))[-1, -1])


@pytest.mark.parametrize("ticks", [1, 5, 6, 7, 9, 10, 17])
def test_blocks_look_back_far_enough_and_say_how_well(monkeypatch, ticks):
    monkeypatch.setattr(fusion, "BLOCK", 3)
    covariances = [damped(ticks, 0.9, 1.0), random_walk(ticks, 0.5), ErrorCovariance.independent(ticks, 3.0)]
    fused = fuse(covariances)
    weights, dense = as_matrix(fused, 3, ticks), joint(covariances)
    covariance = weights @ dense @ weights.T
    between = np.concatenate([[0.0], np.diagonal(covariance, 1)])
    assert weights.reshape(ticks, 3, ticks).sum(axis=1) == pytest.approx(np.eye(ticks))
    assert fused.variances == pytest.approx(np.diag(covariance))
    before = np.concatenate([[0.0], np.diag(covariance)[:-1]])
    assert fused.change_variances == pytest.approx(np.diag(covariance) + before - 2 * between)
    monkeypatch.undo()
    best = fuse(covariances).variances
    assert np.all(fused.variances >= best - 1e-9)
    assert fused.variances[:6] == pytest.approx(best[:6])
    far = np.abs(weights.reshape(ticks, 3, ticks)[:, 1])
    for tick in range(6, ticks):
        oldest = int(np.argmax(far[tick] > 0))
        assert tick - 6 < oldest <= tick - 3


@pytest.mark.slow
@pytest.mark.parametrize("damping", [0.96, 0.999, 1.0])
def test_a_long_series_loses_less_than_a_thousandth(monkeypatch, damping):
    ticks = 4 * BLOCK + 50
    covariances = [damped(ticks, damping, 2.0), random_walk(ticks, 1.0)]
    ours = fuse(covariances).variances
    monkeypatch.setattr(fusion, "BLOCK", ticks)
    monkeypatch.setattr("dp.intervals.error_covariance.LAGS", ticks)
    exact = fuse([damped(ticks, damping, 2.0), random_walk(ticks, 1.0)]).variances
    assert np.sqrt(ours / exact).max() < 1.001


# --- Weights that are wrong ------------------------------------------------------------------------------------------


def variance_of(fused: Fusion, covariances: list[ErrorCovariance]) -> np.ndarray:
    weights = as_matrix(fused, len(covariances), covariances[0].ticks)
    return np.diag(weights @ joint(covariances) @ weights.T)


def test_reversed_weights_are_rejected():
    covariances = [damped(8, 0.9, 2.0), random_walk(8, 1.0)]
    fused = fuse(covariances)
    assert variance_of(fused, covariances) == pytest.approx(fused.variances)
    reversed_rows = tuple(replace(block, weights=block.weights[:, :, ::-1].copy()) for block in fused.rows)
    assert np.all(variance_of(replace(fused, rows=reversed_rows), covariances)[2:] > 1.1 * fused.variances[2:])


def test_a_past_that_is_claimed_but_not_used_is_rejected():
    covariances = [damped(8, 0.9, 2.0), random_walk(8, 1.0)]
    fused = fuse(covariances)
    present = tuple(replace(block, weights=block.weights * np.eye(8)) for block in fused.rows)
    assert np.all(variance_of(replace(fused, rows=present), covariances)[2:] > 1.02 * fused.variances[2:])
