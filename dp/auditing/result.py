"""The result of an audit: what was promised, and what was proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dp.accounting.composition import Guarantee


@dataclass(frozen=True)
class Audit:
    """What a mechanism or sketch promised, and what one test proved.

    Attributes:
        subject: name of the mechanism or sketch.
        view: what the attacker sees: the released numbers, the noisy measurements behind them, a histogram of releases,
            or a sketch.
        claim: the promised ε and δ.
        claimed_mu: the μ that the claim stands for, given its noise; None where nothing is known of the noise.
        epsilon: lower bound on ε at the promised δ, by rates alone.
        mu: lower bound on μ; None where no μ is claimed.
        epsilon_of_mu: for Gaussian noise the ε at the promised δ on the curve of `mu`, else None.
        confidence: of each of these bounds.
        trials: releases in all, half of them with the change.
        flagged: the promise is disproved; a kept one is flagged with probability ≤ `flag_level`.
        worst: norm of the pattern over the sensitivity that the noise was calibrated for; 1 says that nothing was
            given away. None where there is no such number.
        flips: ticks at which the pattern's runs start and end, alternately.
    """

    subject: str
    view: str
    claim: Guarantee
    claimed_mu: float | None
    epsilon: float
    mu: float | None
    epsilon_of_mu: float | None
    confidence: float
    trials: int
    flagged: bool
    flag_level: float
    worst: float | None
    flips: tuple[int, ...]

    @property
    def measured(self) -> float:
        """The ε that is proved: on the Gaussian curve where there is one, else by rates alone."""
        # Not the larger of the two: the chosen one would exceed the truth more often than `confidence` says.
        return self.epsilon if self.epsilon_of_mu is None else self.epsilon_of_mu

    @property
    def ratio(self) -> float:
        """Measured over claimed: of μ where it is claimed, else of ε."""
        if self.mu is None or self.claimed_mu is None:
            return self.epsilon / self.claim.epsilon
        return self.mu / self.claimed_mu

    def row(self) -> dict[str, Any]:
        """The result as plain JSON values, under the column names of the command `dpdau audit`."""
        return {
            "subject": self.subject,
            "seen": self.view,
            "claimed": self.claim.epsilon,
            "measured": self.measured,
            "ratio": self.ratio,
            "worst": self.worst,
            "flagged": self.flagged,
            "delta": self.claim.delta,
            "claimed_mu": self.claimed_mu,
            "mu": self.mu,
            "rates": self.epsilon,
            "confidence": self.confidence,
            "flag_level": self.flag_level,
            "trials": self.trials,
            "flips": list(self.flips),
        }
