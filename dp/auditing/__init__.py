"""Attacks on what the library promises: lower bounds on ε and μ that a kept promise stays above, and readings.

A *case* (`case`) is two distributions to tell apart, releases without and with one change, and the claim about them.
`mechanisms`, `adaptive_flippancy` and `sketches` make cases, from a *pattern*, the worst change of a class
(`worst_pattern`), and the *score* that tells most, the likelihood ratio (`likelihood`). A *view* is what the attacker
sees. `verdict` draws trials (`sampling`), turns scores and histograms (`histogram`) into *alarms* and alarms into lower
bounds (`bounds`). An *audit* (`result`) is what one test proved of one case; `by_name` and `live` audit what is
registered and what is really published. A *twin* (`twins`) is a known mistake beside the right way, and *power*
(`power`) the number of trials at which an audit catches it. An *attack* (`attacks`, one module each) tries what stands
around the noise; its *readings* are measured numbers, each with the most that the claim allows. `closeness` decides
whether two samples have one distribution.
"""

from dp.auditing.by_name import audit
from dp.auditing.mechanisms import audit_mechanism
from dp.auditing.options import AuditOptions
from dp.auditing.result import Audit

__all__ = ["Audit", "AuditOptions", "audit", "audit_mechanism"]
