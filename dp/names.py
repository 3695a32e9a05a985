"""Names that commands, settings and configs need before anything heavy is imported: said once, and import-free.

Each tuple has a registry beside what it names (`dp.mechanisms.MECHANISMS`, `dp.sketches.SKETCHES`,
`dp.accounting.accountants.ACCOUNTANTS`, `dp.auditing.attacks.ATTACKS`) with these names in this order; a test holds
them together.
"""

METRICS: dict[str, int] = {"dau": 1, "wau": 7, "mau": 30}
"""Trailing window of each metric, in days; MAU may also be asked for with 28."""

UNITS = ("user-day", "user")

FLOWS = ("new", "returning", "gone")
"""How the users present change from tick to tick; new + returning − gone is the change."""
CALENDAR = ("week", "month")
"""Cells of the calendar: the ISO week and the month."""
BREAKDOWN_KINDS = ("fixed", "any", "last")
"""How a user is given segments (`dp.questions.Breakdown`)."""

YEAR = 365
"""Ticks of a series where nobody says how many."""

DEFAULT_MECHANISM = "damped-square-root"
DEFAULT_PURE_MECHANISM = "subtraction-tree"
"""Where δ is 0."""
BEST_MECHANISM = "best"
"""In the place of a mechanism's name: the linear one with the least noise, for each question of a release."""
DEFAULT_W_BOUND = 2

LINEAR_MECHANISMS = (
    "laplace", "gaussian", "binary-tree", "binary-tree-laplace", "subtraction-tree", "b-ary-tree", "honaker-tree",
    "smooth-binary", "square-root", "damped-square-root", "buffered-toeplitz", "optimal",
)  # fmt: skip
OWN_BOUND_MECHANISMS = ("adaptive-flippancy",)
"""They find their W_BOUND themselves, for the unit user."""
DATA_DEPENDENT_MECHANISMS = ("sparse-vector", *OWN_BOUND_MECHANISMS)
"""Their error depends on the data."""
MECHANISMS = LINEAR_MECHANISMS + DATA_DEPENDENT_MECHANISMS

RELEASED_SKETCHES = ("exact", "bitmap", "fixed-rate")
"""Sketches whose counts a mechanism can make private."""
SKETCHES = (*RELEASED_SKETCHES, "kmv", "theta", "hll", "cpc", "fm", "order-invariant", "sfm", "gf2")

ACCOUNTANTS = ("naive", "advanced", "zcdp", "rdp", "gdp", "pld")

LOG_FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet",),
}
"""The suffixes of each format of a log, in lower case."""
PACKED_SUFFIXES = (".gz", ".zst")
"""They may follow the suffix of a text format. How a file is packed is known by its bytes, whatever its name."""
LOG_PRESETS = ("snowplow", "segment", "posthog", "mixpanel", "amplitude", "ga4")
"""Tools whose exports are read without naming the columns (`dp.log.presets.PRESETS`)."""

ATTACKS = (
    "repeated-query", "rewritten-log", "differencing", "rejoin", "adaptive", "late", "poisoning", "support", "ledger",
    "noise",
)  # fmt: skip
"""The attack on the live service stands above the library (`workbench.attacks`)."""


def default_mechanism(delta: float) -> str:
    """The mechanism where nobody names one."""
    return DEFAULT_MECHANISM if delta else DEFAULT_PURE_MECHANISM
