"""Filters and convolutions of one series: what `scipy.signal` gives, bit for bit, without the second that it imports.

The same bits matter, because the weights of a published strategy are chosen with them.
"""

from __future__ import annotations

import numpy as np
import scipy

from dp.arrays import Floats

LONGEST_DIRECT = 2380
"""Ticks up to which `scipy.signal.correlate` sums products instead of transforming."""

LONGEST_LOOP = 2**16
"""Ticks up to which a loop is quicker than an import."""


def impulse_response(numerator: Floats, denominator: Floats, length: int) -> Floats:
    """The power series numerator/denominator up to z^(length − 1); shape (length,).

    Args:
        numerator: lowest power first.
        denominator: lowest power first, at least as long as the numerator, beginning with 1.
    """
    if length > LONGEST_LOOP:
        return np.asarray(scipy.signal.lfilter(numerator, denominator, np.eye(1, length)[0]))
    feedback = denominator[1:]
    coming = np.zeros(len(denominator))
    coming[: len(numerator)] = numerator
    response = np.empty(length)
    carried = np.empty_like(feedback)
    for tick in range(length):
        # `coming` holds what the ticks so far add to this one and the next ones.
        response[tick] = coming[0]
        np.multiply(feedback, response[tick], out=carried)
        np.subtract(coming[1:], carried, out=coming[:-1])
        coming[-1] = 0.0
    return response


def convolve(left: Floats, right: Floats) -> Floats:
    """The full convolution by FFT; shape (len(left) + len(right) − 1,)."""
    if min(len(left), len(right)) == 1:
        return left * right
    length = len(left) + len(right) - 1
    size = scipy.fft.next_fast_len(length, real=True)
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(left, size) * scipy.fft.rfft(right, size), size)[:length])


def autocorrelation(series: Floats, lags: int) -> Floats:
    """Σ_t series[t]·series[t + lag] for lag = 0 … `lags` − 1; shape (lags,)."""
    length = len(series)
    if length > LONGEST_DIRECT:
        products = convolve(series, series[::-1])[length - 1 :]
        return np.pad(products, (0, max(lags - length, 0)))[:lags]
    # The same sums as those of numpy.correlate, which has no way to ask for few lags.
    return np.array([series[: length - lag] @ series[lag:] if lag < length else 0.0 for lag in range(lags)])
