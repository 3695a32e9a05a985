"""Attacks on the mechanisms and what they prove: lower bounds on ε and μ that a kept promise stays above."""

from dp.auditing.likelihood import Audit
from dp.auditing.mechanisms import audit_mechanism

__all__ = ["Audit", "audit_mechanism"]
