"""What a joint release gains: the noise of DAU, WAU and MAU together, for users who act on time.

Choosing the dampings takes some seconds, so the numbers are kept in results/joint.json, written by `make mechanisms`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from dp.accounting.calibrate import calibrate_on_time
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.mechanisms import GRID
from dp.mechanisms.joint import Exceptions
from dp.release import METRICS
from experiments.documentation.markdown import markdown_table
from experiments.engine.files import write_atomically
from experiments.engine.places import RESULTS

STORE = RESULTS / "joint.json"
HORIZON = 365
GUARANTEE = Guarantee(1.0, 1e-6)
CASES = (Exceptions(0, 0), Exceptions(2, 0), Exceptions(2, 1))


def noise_of(exceptions: Exceptions, horizon: int = HORIZON) -> dict[str, object]:
    """Root mean square of the standard deviation × μ of every series: jointly, and by the sum of their worst cases."""
    windows = list(METRICS.values())
    shares = [1.0] * len(windows)
    mechanisms = calibrate_on_time(windows, horizon, GUARANTEE, shares, exceptions)
    mu = mu_for(*GUARANTEE)
    joint, summed = {}, {}
    for metric, mechanism in zip(METRICS, mechanisms, strict=True):
        spread = math.sqrt(float(mechanism.strategy.decoder_energy(horizon).mean()))
        joint[metric] = mechanism.noise.scale / GRID * spread * mu
        # Alone for its share of μ² the same series would have this noise.
        summed[metric] = mechanism.sensitivity * math.sqrt(len(windows)) * spread
    return {"removals": exceptions.removals, "late": exceptions.late, "joint": joint, "summed": summed}


def compute(path: Path = STORE) -> None:
    """Compute all cases and replace the file."""
    rows = [json.dumps(noise_of(case)) for case in CASES]
    write_atomically(path, ("[\n" + ",\n".join(rows) + "\n]\n").encode())


def table(path: Path = STORE) -> str:
    """The stored numbers as a table."""
    rows = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        joint = [f"**{row['joint'][metric]:.2f}**" for metric in METRICS]
        added = " / ".join(f"{row['summed'][metric]:.2f}" for metric in METRICS)
        gain = 1 - row["joint"]["mau"] / row["summed"]["mau"]
        rows.append([f"{row['removals']} removals, {row['late']} late days", *joint, added, f"{gain:.0%}"])
    titles = ["at most", "DAU", "WAU", "MAU", "the same, worst cases added up", "less noise"]
    return markdown_table(titles, "lrrrlr", rows)


if __name__ == "__main__":
    compute()
    print(STORE)
