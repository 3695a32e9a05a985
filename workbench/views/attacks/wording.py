"""Attacks and seeded bugs in words, for whoever does not know their names."""

from __future__ import annotations

from collections.abc import Mapping

LIKELIHOOD_RATIO = "likelihood-ratio"
"""The audit of noise: no test tells more (docs/guarantees.md, section 17.2)."""
SERVICE = "service"
"""The attack on the live service, which starts services of its own: shown from the committed run only."""
COMMITTED_ONLY = ("ledger", SERVICE)
"""Attacks that are not made on the page."""

ATTACK_TITLES: Mapping[str, str] = {
    LIKELIHOOD_RATIO: "Guess from the numbers whether somebody is in",
    "repeated-query": "Ask the same question again and again",
    "rewritten-log": "Change the log and publish again",
    "differencing": "Subtract DAU, WAU and MAU from each other",
    "rejoin": "Be erased and come back, to count more often",
    "adaptive": "Steer the log by what was released",
    "late": "Report activity late",
    "poisoning": "Add users of one's own to a sketch",
    "support": "Read the last bits of a number",
    "ledger": "Spend more than the budget",
    "noise": "Exchange what draws the noise",
    SERVICE: "Restart, rewind and race the live service",
}

STRIP_MISTAKE = "half-noise"
"""The seeded bug of the mechanism that the strip names; all others have mechanisms of their own."""

MISTAKE_TITLES: Mapping[str, str] = {
    STRIP_MISTAKE: "half the noise",
    "variance-as-deviation": "the variance taken for the deviation",
    "sensitivity-one": "noise for one day of a 7-day window",
    "per-release-laplace": "ε for each day sold as ε for all",
    "counter-reset": "an erasure resets the flips",
    "continuous-accounting": "whole-number noise counted as continuous",
    "noise-on-kmv": "noise for one user on a KMV sketch",
    "noise-on-hll": "noise for one user on HyperLogLog",
    "noise-on-theta": "noise for one user on a Theta sketch",
    "noise-on-cpc": "noise for one user on a CPC sketch",
    "noise-on-fixed-rate": "noise for one user on a sample",
    "half-flips": "half the bits of a sketch flipped",
    "same-coins": "two sites flip with the same coins",
    "no-phantoms": "no phantom users in a sketch",
    "phantoms-rounded-down": "one phantom user too few",
    "everybody-kept": "nobody left out of a sketch",
    "one-salt": "two sketches under one secret salt",
}
"""Seeded bugs of `dp.auditing.twins` whose promise is an ε."""
