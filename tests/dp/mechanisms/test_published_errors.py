"""Errors that jax-privacy's tests expect of strategies, asked of ours; only the numbers are taken.

Source: github.com/google-deepmind/jax_privacy, 8967688c26d46f3b74bfdfe61ef1f984b887abab, tests/matrix_factorization:
`dense_test.py`, `buffered_toeplitz_test.py`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.mechanisms import linear_design
from dp.units import ProtectedClass


def once(horizon: int) -> ProtectedClass:
    """A user who comes and stays, or goes: a count of everyone so far."""
    return ProtectedClass(1, horizon, horizon, open_ended=True)


def test_the_error_of_a_factorisation_of_two_sums():
    # Weights 1 and ½.
    assert linear_design("square-root", once(2)).strategy.decoder_energy(2) == pytest.approx([1, 1.25], rel=1e-12)


def test_two_ticks_of_a_tree_with_all_its_nodes():
    """Both estimates use all nodes there. Ours publishes the first before the other nodes exist; the last is alike."""
    energy = linear_design("honaker-tree", once(2)).strategy.decoder_energy(2)
    assert energy == pytest.approx([1, 2 / 3], rel=1e-12)
    nodes = np.array([[1, 0], [0, 1], [1, 1]])
    sums = np.tri(2) @ np.linalg.pinv(nodes)
    assert (sums**2).sum(axis=1) == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize(("horizon", "ratio"), [(10, 1.04), (100, 1.03), (1_000, 1.03), (10_000, 1.03)])
def test_the_largest_error_over_the_bound_of_mathias(horizon, ratio):
    """What they reach with enough buffers. Our buffers lower the mean error, not the largest; the root does both."""
    design = linear_design("square-root", once(horizon))
    largest = design.sensitivity * math.sqrt(float(design.strategy.decoder_energy(horizon).max()))
    assert largest <= ratio * (1 + math.log(horizon) / math.pi)
