"""The optimum over an endless series: a convex programme over spectra.

Noise with spectral density f costs ∫f a release and gives a difference Δ the energy ∫|Δ̂|²/f. Over a class the least
product of the two is (max over distributions π on the class of ∫√(Σ π|Δ̂|²))², by Cauchy and Schwarz; the best density
is that root. Every π gives a lower bound. Patterns are added as the present density makes them bad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import patterns
from dp.units import ProtectedClass

ROUNDS = 12
UPDATES = 250
STEP = 1.7
CLIMBS = 10


@dataclass(frozen=True)
class Optimum:
    """What the convex programme gives.

    Attributes:
        density: spectral density of the noise at 2πk/N, shape (N,).
        factor: lower bound on the standard deviation of a release times μ.
        flips: the patterns that decide, each as the ticks of its flips.
        shares: their distribution π.
    """

    density: Floats
    factor: float
    flips: tuple[Integers, ...]
    shares: Floats


@lru_cache(maxsize=16)
def optimum(protected: ProtectedClass) -> Optimum:
    """The optimum for the class, its horizon forgotten."""
    size = 1 << max(11, (48 * protected.hull).bit_length())
    if protected.runs == 1:
        flips = [np.array([0, length]) for length in range(1, protected.hull + 1)]
        density, shares = _improved(_spectra(flips, size), np.full(len(flips), 1 / len(flips)), 8 * UPDATES)
        return Optimum(density, float(density.mean()), tuple(flips), shares)
    generator = np.random.default_rng(0)
    density = 1 / np.abs(1 - 0.9 * np.exp(2j * np.pi * np.arange(size) / size))
    flips, shares = [], np.empty(0)
    for _ in range(ROUNDS):
        table = _energy_table(density, protected.hull)
        starts = [*patterns.starts(protected, generator, CLIMBS), *flips[-8:]]
        found = [patterns.climbed(table, start, protected.hull) for start in starts]
        worst = max(energy for energy, _ in found)
        new = [pattern for energy, pattern in found if energy > 0.9 * worst]
        flips = [*flips, *new]
        shares = np.append(0.8 * shares, np.full(len(new), (0.2 if len(shares) else 1.0) / len(new)))
        density, shares = _improved(_spectra(flips, size), shares / shares.sum(), UPDATES)
        kept = np.flatnonzero(shares > 1e-7)
        flips, shares = [flips[index] for index in kept], shares[kept] / shares[kept].sum()
    density = np.sqrt(shares @ _spectra(flips, size))
    return Optimum(density, float(density.mean()), tuple(flips), shares)


def causal_weights(density: Floats) -> Floats:
    """p₁, p₂, … of the B⁻¹ = 1 − Σ pₙzⁿ whose noise has that density up to a factor, by the cepstrum."""
    cepstrum = np.fft.ifft(-0.5 * np.log(density)).real
    half = len(density) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    cepstrum[0] = 0
    return np.asarray(-np.fft.ifft(np.exp(np.fft.fft(cepstrum))).real[1:half])


def _improved(spectra: Floats, shares: Floats, updates: int) -> tuple[Floats, Floats]:
    """The density and the distribution after multiplicative updates."""
    # Spectra of real patterns are even: half of the frequencies say it all.
    half = spectra.shape[1] // 2 + 1
    spectra = spectra[:, :half]
    weight = np.full(half, 2.0)
    weight[[0, -1]] = 1.0
    weight /= weight.sum()
    for _ in range(updates):
        density = np.sqrt(shares @ spectra)
        energies = spectra @ (weight / density)
        total = weight @ density
        if energies.max() <= total * (1 + 1e-6):
            break
        shares = shares * (energies / total) ** STEP
        shares /= shares.sum()
    density = np.sqrt(shares @ spectra)
    return np.concatenate([density, density[-2:0:-1]]), shares


def _spectra(flips: list[Integers], size: int) -> Floats:
    """|Δ̂|² of every pattern, with a trace of white noise so that no density vanishes; shape (patterns, size)."""
    return np.array([np.abs(np.fft.fft(patterns.series(pattern, size))) ** 2 + 1e-12 for pattern in flips])


def _energy_table(density: Floats, longest: int) -> Floats:
    """E(ℓ) of one run for ℓ = 0 … `longest`: its second difference is twice the autocorrelation of B⁻¹."""
    correlation = np.fft.ifft(1 / density).real
    slopes = correlation[0] + 2 * np.concatenate([[0.0], np.cumsum(correlation[1:longest])])
    return np.concatenate([[0.0], np.cumsum(slopes)])
