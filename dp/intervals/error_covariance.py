"""Covariances of the errors of a released series: what a fusion of several must know of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dp.arrays import Floats

BLOCK = 200
"""In a series of up to 2·BLOCK ticks all of the past is used; in a longer one, the last BLOCK to 2·BLOCK ticks."""

LAGS = 2 * BLOCK + 1
"""As far back as a fusion asks for covariances."""


@dataclass(frozen=True, eq=False)
class ErrorCovariance:
    """How the errors of one series depend on each other, at ticks that are not far apart.

    Attributes:
        lagged: the covariance of the errors at t and t + lag, in squared users, shape (lags, T); beyond the last tick
            the entries have no meaning.
    """

    lagged: Floats

    @classmethod
    def of_decoder(cls, decoder: Floats, deviation: float) -> ErrorCovariance:
        """Of errors B z with independent draws z.

        Args:
            decoder: B, shape (T, draws). A linear mechanism's strategy gives it as `decode(np.eye(draws)).T`.
            deviation: standard deviation of one draw, in users.

        Raises:
            ValueError: `deviation` is not positive.
        """
        scaled = decoder * _positive(deviation)
        full = scaled @ scaled.T
        lagged = np.zeros((min(len(full), LAGS), len(full)))
        for lag, row in enumerate(lagged):
            row[: len(full) - lag] = np.diagonal(full, lag)
        return cls(lagged)

    @classmethod
    def of_coefficients(cls, coefficients: Floats, deviation: float) -> ErrorCovariance:
        """Of errors B z where B is a Toeplitz matrix, in linear memory.

        Args:
            coefficients: first column of B, shape (T,).
            deviation: standard deviation of one draw, in users.

        Raises:
            ValueError: `deviation` is not positive.
        """
        scaled = coefficients * _positive(deviation)
        ticks = len(scaled)
        lagged = np.zeros((min(ticks, LAGS), ticks))
        for lag, row in enumerate(lagged):
            np.cumsum(scaled[: ticks - lag] * scaled[lag:], out=row[: ticks - lag])
        return cls(lagged)

    @classmethod
    def independent(cls, ticks: int, deviation: float) -> ErrorCovariance:
        """Of independent errors with one standard deviation."""
        return cls.of_coefficients(np.eye(1, ticks)[0], deviation)

    @property
    def ticks(self) -> int:
        """How many ticks the series has."""
        return int(self.lagged.shape[1])

    @property
    def independent_deviation(self) -> float | None:
        """The standard deviation of errors that are independent and alike; None where they are not."""
        variances = self.lagged[0]
        alike = bool(np.all(variances == variances[0]) and not np.any(self.lagged[1:]))
        return float(np.sqrt(variances[0])) if alike else None

    def block(self, start: int, stop: int) -> Floats:
        """The covariance matrix of the ticks `start` to `stop` − 1, shape (ticks, ticks)."""
        tick = np.arange(start, stop)
        earlier = np.minimum.outer(tick, tick)
        return np.asarray(self.lagged[np.abs(np.subtract.outer(tick, tick)), earlier])

    def times(self, factor: float) -> ErrorCovariance:
        """That of the sum of so many independent series."""
        return ErrorCovariance(self.lagged * factor)

    def ratio(self, other: ErrorCovariance) -> float | None:
        """How many times the other covariance this one is; None where it is no multiple of it."""
        factor = self.lagged[0, 0] / other.lagged[0, 0]
        same = self.lagged.shape == other.lagged.shape and np.allclose(
            self.lagged, factor * other.lagged, rtol=1e-12, atol=1e-12 * self.lagged[0, 0]
        )
        return float(factor) if same else None


def _positive(deviation: float) -> float:
    if not 0 < deviation < np.inf:
        raise ValueError(f"deviation is {deviation}; the standard deviation of a draw is a positive number of users")
    return deviation
