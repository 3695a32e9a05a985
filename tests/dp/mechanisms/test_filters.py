"""The house's own filters against scipy.signal, bit for bit: strategies that were published depend on the last one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.signal import correlate, fftconvolve, lfilter

from dp.mechanisms import filters
from dp.mechanisms.filters import LONGEST_DIRECT, autocorrelation, convolve, impulse_response
from tests.laws import each

SLOW_IMPORTS = {
    "scipy.signal",
    "scipy.optimize",
    "scipy.stats",
    "pandas",
    "pyarrow",
    "matplotlib",
    "opendp",
    "scipy.special",
    "scipy.fft",
}


@each("length", [1, 2, 3, 50, 365, 2048, LONGEST_DIRECT, LONGEST_DIRECT + 1, 8192])
def test_convolutions_are_those_of_scipy(length):
    generator = np.random.default_rng(length)
    series, other = generator.random(length), generator.random(max(length // 3, 1))
    assert np.array_equal(convolve(series, other), fftconvolve(series, other))
    every = correlate(series, series, mode="full")[length - 1 :]
    for lags in (1, length // 2 + 1, length):
        assert np.array_equal(autocorrelation(series, lags), every[:lags])
    assert np.array_equal(autocorrelation(series, length + 2), [*every, 0.0, 0.0])


@pytest.mark.parametrize(("length", "order"), [(1, 2), (10, 1), (400, 2), (400, 4), (500, 500), (512, 300)])
@pytest.mark.parametrize("longest_loop", [0, 2**16])
def test_the_impulse_response_is_that_of_scipy(length, order, longest_loop, monkeypatch):
    monkeypatch.setattr(filters, "LONGEST_LOOP", longest_loop)
    generator = np.random.default_rng(order)
    denominator = np.concatenate([[1.0], -generator.random(order) / order])
    for numerator in (np.ones(1), np.concatenate([[1.0], -generator.random(order)])):
        expected = lfilter(numerator, denominator, np.eye(1, length)[0])
        assert np.array_equal(impulse_response(numerator, denominator, length), expected)


def test_a_release_starts_without_what_takes_long_to_import():
    code = f"import sys, dp.release, dp.accounting.accountants; print({SLOW_IMPORTS!r} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
