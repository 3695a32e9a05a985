"""How fast and how exact sketches are, beside DataSketches used directly and DuckDB; in one run, on one thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from datasketches import cpc_sketch, hll_sketch, tgt_hll_type, update_theta_sketch
from threadpoolctl import threadpool_limits

from dp.progress import Progress
from dp.sketches import SKETCHES, Keys, family_of
from dp.sketches.keys import keys_of
from dp.sketches.table import described, some_keys
from experiments.kinds.sketches.designs import sketch_design
from experiments.kinds.sketches.trials import noisy_estimate
from workbench.bench.timing import alternate_seconds, processor_seconds
from workbench.rows import TableRow

SIZES: dict[str, float | None] = {
    "exact": None, "bitmap": None, "fixed-rate": 0.05, "kmv": 4096, "theta": 12, "hll": 12, "cpc": 11, "fm": 4096,
    "order-invariant": 12, "sfm": 12, "gf2": 12,
}  # fmt: skip
"""The size in which each is measured (`experiments.kinds.sketches.designs` says of what); the others' own defaults."""
DELTA = 1e-6
EPSILONS = (0.5, 1.0, math.inf)
USERS = (100_000, 1_000_000)
SALT = bytes(range(16))

DIRECT: dict[str, Callable[[], Any]] = {
    "theta": lambda: update_theta_sketch(12),
    "hll": lambda: hll_sketch(12, tgt_hll_type.HLL_8),
    "cpc": lambda: cpc_sketch(11),
}
"""The library's own sketches, in the same sizes."""

TITLES = {
    "speed": "Processor time on one thread: users added at once, hashes given; two sketches merged",
    "error": "Relative error of one count in per cent (root mean square over trials with fresh salts)",
    "beside": "The same users through another library on one thread; overhead = our time over its time",
}


def bench_sketches(trials: int, report: Progress, users: Sequence[int] = USERS) -> dict[str, list[TableRow]]:
    """Three tables: `speed` and `beside` at the largest number of users, `error` at each; see these functions.

    Args:
        trials: salts for each error.
    """
    tables: dict[str, list[TableRow]] = {"speed": [], "error": [], "beside": []}
    with threadpool_limits(1):
        report("speed keys", 0.0)
        tables["speed"].append(hashing(max(users)))
        for number, name in enumerate(SKETCHES):
            report(f"speed {name}", 0.1 * number / len(SKETCHES))
            tables["speed"].append(speed(name, max(users)))
        for number, name in enumerate(DIRECT):
            report(f"beside {name}", 0.1 + 0.05 * number / len(DIRECT))
            tables["beside"].append(beside(name, max(users)))
        report("beside DuckDB", 0.15)
        tables["beside"].append(beside_duckdb(max(users), trials))
        for number, name in enumerate(SKETCHES):
            for which, count in enumerate(users):
                report(f"error {name}", 0.2 + 0.8 * (number + which / len(users)) / len(SKETCHES))
                tables["error"].append(error(name, count, trials))
    return tables


def hashing(users: int) -> TableRow:
    """Ids of 16 bytes hashed a second, as the first line of the table of speeds."""
    ids = pa.array([f"user-{number:011d}" for number in range(users)])
    seconds = processor_seconds(lambda: keys_of(ids, SALT))
    return {
        "sketch": "(16-byte ids to keys)",
        "parameters": "",
        "million_users_per_second": round(users / seconds / 1e6, 2),
        "bytes": None,
        "merge_ms": None,
    }


def speed(name: str, users: int) -> TableRow:
    """Users added a second to an empty sketch, all at once; its bytes; time to merge two that half overlap."""
    design = sketch_design(name, SIZES[name], 1.0, DELTA, SALT)
    keys = some_keys(family_of(name), users, SALT)
    empty = design.empty()
    seconds = processor_seconds(lambda: empty.add(keys))
    first, second = empty.add(keys[: 2 * users // 3]), empty.add(keys[users // 3 :])
    return {
        "sketch": name,
        "parameters": described(design),
        "million_users_per_second": round(users / seconds / 1e6, 2),
        "bytes": len(empty.add(keys).to_bytes()),
        "merge_ms": round(1000 * processor_seconds(lambda: first.merge(second)), 3),
    }


def error(name: str, users: int, trials: int) -> TableRow:
    """Relative error in per cent at each of EPSILONS; ∞ is the sketch alone.

    None where it has no meaning: for a sketch without a guarantee there is no ε, and one that is private by its hash
    has no version without.
    """
    return {
        "sketch": name,
        "users": users,
        **{_epsilon_name(epsilon): _error(name, users, epsilon, trials) for epsilon in EPSILONS},
        "trials": trials,
    }


def beside(name: str, users: int) -> TableRow:
    """One of DIRECT: our bulk update against a loop over the library's own, over the same keys, alternately."""
    design = sketch_design(name, SIZES[name], 1.0, DELTA, SALT)
    keys = some_keys(family_of(name), users, SALT)

    # As numbers that the library takes: CPC rounds negative ones to floats, the other two those from 2^63 on.
    fed = keys.view(np.uint64) if name == "cpc" else keys

    def direct() -> None:
        update = DIRECT[name]().update
        for key in fed.tolist():
            update(key)

    ours, theirs = alternate_seconds(lambda: design.empty().add(keys), direct)
    return _compared(name, "datasketches", users, ours, theirs) | {"error": None, "its_error": None}


def beside_duckdb(users: int, trials: int) -> TableRow:
    """DuckDB's approx_count_distinct over the keys as a column, against `hll`; with the relative errors in per cent."""
    design = sketch_design("hll", SIZES["hll"], 1.0, DELTA, SALT)
    generator = np.random.default_rng(users)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")

        def counted(keys: Keys) -> float:
            connection.register("given", pa.table({"key": keys}))
            ((found,),) = connection.execute("SELECT approx_count_distinct(key) FROM given").fetchall()
            return float(found)

        keys = some_keys(family_of("hll"), users, SALT)
        ours, theirs = alternate_seconds(lambda: design.empty().add(keys), lambda: counted(keys))
        errors = [counted(some_keys(family_of("hll"), users, generator.bytes(16))) / users - 1 for _ in range(trials)]
    return _compared("hll", "DuckDB approx_count_distinct", users, ours, theirs) | {
        "error": _error("hll", users, math.inf, trials),
        "its_error": _per_cent(errors),
    }


def _error(name: str, users: int, epsilon: float, trials: int) -> float | None:
    family = family_of(name)
    alone = math.isinf(epsilon)
    by_hash = name in ("fm", "order-invariant")
    if by_hash if alone else family.contract.kind == "none":
        return None
    generator = np.random.default_rng([users, *name.encode()])
    errors = []
    for _ in range(trials):
        salt = generator.bytes(16)
        design = sketch_design(name, SIZES[name], 1.0 if alone else epsilon, DELTA, salt)
        sketch = design.empty().add(some_keys(family, users, salt))
        estimate = sketch.estimate() if alone else noisy_estimate(sketch, design, name, epsilon, generator)
        errors.append(estimate / users - 1)
    return _per_cent(errors)


def _epsilon_name(epsilon: float) -> str:
    return "sketch_alone" if math.isinf(epsilon) else f"epsilon_{epsilon:g}"


def _per_cent(errors: Sequence[float]) -> float:
    return float(f"{100 * math.sqrt(np.mean(np.square(errors))):.4g}")


def _compared(name: str, other: str, users: int, ours: float, theirs: float) -> TableRow:
    return {
        "sketch": name,
        "beside": other,
        "million_users_per_second": round(users / ours / 1e6, 2),
        "its_million_users_per_second": round(users / theirs / 1e6, 2),
        "overhead": round(ours / theirs, 3),
    }
