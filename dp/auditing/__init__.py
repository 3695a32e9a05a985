"""Attacks on what the library promises, and what they prove.

- View: what an attacker sees, for instance releases, the noisy measurements behind them, or a sketch.
- Pattern (`worst_pattern`): a protected change of the counts; the worst one of a class is found by search.
- Case (`case`): two distributions to tell apart, without and with one change, and the claim about them. `mechanisms`,
  `adaptive_flippancy` and `sketches` make the cases of what is registered, `live` those of real releases.
- Score (`likelihood`): the log likelihood ratio of one trial. Features (`histogram`): numbers of a trial where there is
  no such ratio, or beside it.
- Verdict (`verdict`): from trials (`sampling`) by scores and alarms to lower bounds on ε and μ (`bounds`).
- Audit (`result`): what one test proved of one case; `by_name` audits a mechanism or a sketch.
- Twin (`twins`): a known mistake beside the right way. Power (`power`): the number of trials that catch it.
- Attack (`attacks`, one module each): an attempt on what stands around the noise. It is made against targets, the
  project and broken twins, and takes readings: measured numbers, each with the most that the claim allows.
- Closeness (`closeness`): whether two samples come from one distribution.
"""

from dp.auditing.by_name import audit
from dp.auditing.mechanisms import audit_mechanism
from dp.auditing.options import AuditOptions
from dp.auditing.result import Audit

__all__ = ["Audit", "AuditOptions", "audit", "audit_mechanism"]
