"""What the tests of audits share: guarantees, a class of users, and audits along it."""

from __future__ import annotations

from functools import cache

import numpy as np

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.auditing import audit_mechanism
from dp.mechanisms import MECHANISMS, linear_design
from dp.units import protected_class
from tests.oracles.mechanism_instances import ClassArguments

USUAL, PURE = Guarantee(1.0, 1e-6), Guarantee(1.0, 0.0)
WEEK = ClassArguments("user-day", 7, 2, 20)


@cache
def calibrated(name: str, arguments: ClassArguments, claim: Guarantee = USUAL):
    if MECHANISMS[name].noise == "laplace":
        claim = Guarantee(claim.epsilon, 0.0)
    return calibrate_linear([linear_design(name, protected_class(*arguments))], claim, [1.0])[0], claim


def audited(name: str, arguments: ClassArguments, trials: int, seed: int = 7, claim: Guarantee = USUAL):
    generator = np.random.default_rng(seed)
    return audit_mechanism(name, protected_class(*arguments), claim, trials, generator)
