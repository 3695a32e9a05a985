"""Private active-user counts: daily, weekly and monthly active users under differential privacy.

    import dp

    log = dp.read_log("log.csv")
    plan = dp.plan(["dau", "mau"], epsilon=1, first="2024-01-01", last="2024-04-29")
    plan.promise, plan.std["mau"]             # before anything is spent
    plan.simulate(log, seed=1)                # a frame of reproducible noise, for rehearsals
    plan.publish(log, ledger="dpdau.ledger")  # a frame of the release; again, the same bytes and no charge

Everything here is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp.accounting.accountants import ACCOUNTANTS
    from dp.auditing import audit
    from dp.counts import Counts
    from dp.face.plan import ReleasePlan, plan
    from dp.face.tables import calibrate, compare, compose
    from dp.ledger import BudgetExhausted, LedgerError, open_ledger
    from dp.log import Log, LogError, read_log
    from dp.mechanisms import MECHANISMS
    from dp.names import METRICS
    from dp.questions import Breakdown, breakdown
    from dp.sketches import SKETCHES

    __version__: str

_HOMES = {
    "ACCOUNTANTS": "dp.accounting.accountants",
    "MECHANISMS": "dp.mechanisms",
    "METRICS": "dp.names",
    "SKETCHES": "dp.sketches",
    "Breakdown": "dp.questions",
    "BudgetExhausted": "dp.ledger",
    "Counts": "dp.counts",
    "LedgerError": "dp.ledger",
    "Log": "dp.log",
    "LogError": "dp.log",
    "ReleasePlan": "dp.face.plan",
    "audit": "dp.auditing",
    "breakdown": "dp.questions",
    "calibrate": "dp.face.tables",
    "compare": "dp.face.tables",
    "compose": "dp.face.tables",
    "open_ledger": "dp.ledger",
    "plan": "dp.face.plan",
    "read_log": "dp.log",
}

__all__ = [
    "ACCOUNTANTS",
    "MECHANISMS",
    "METRICS",
    "SKETCHES",
    "Breakdown",
    "BudgetExhausted",
    "Counts",
    "LedgerError",
    "Log",
    "LogError",
    "ReleasePlan",
    "__version__",
    "audit",
    "breakdown",
    "calibrate",
    "compare",
    "compose",
    "open_ledger",
    "plan",
    "read_log",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("dpdau")
    if name not in _HOMES:
        raise AttributeError(f"module 'dp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name not in __all__)]
