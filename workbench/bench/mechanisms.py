"""How fast mechanisms are: choosing a strategy, simulating, and one secure step; in one run, on one thread."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dp.accounting.calibrate import calibrate_designs, calibrate_linear
from dp.accounting.composition import Guarantee
from dp.arrays import Integers
from dp.mechanisms import (
    EMPTY_STATE,
    MECHANISMS,
    LinearDesign,
    Mechanism,
    State,
    Strategy,
    buffered_toeplitz,
    dense,
    design,
    linear_design,
    optimal,
)
from dp.progress import Progress
from dp.release.drawing import secure_source, seeded_source
from dp.units import protected_class
from workbench.bench.timing import processor_seconds, seconds_once
from workbench.rows import TableRow

GUARANTEE = Guarantee(1.0, 1e-6)
HORIZONS = (365, 4096, 100_000)
SIMULATED_TICKS = 365
LONGEST_DESIGN = 5.0
"""Seconds; a mechanism whose strategy takes longer to choose is not tried on a longer horizon."""

STEPS = 25
PROBLEMS: dict[str, tuple[int, Callable[[int], Strategy]]] = {
    "buffered-toeplitz": (4096, lambda ticks: buffered_toeplitz.strategy(protected_class("user", 1, 1, ticks))),
    "toeplitz": (4096, lambda ticks: optimal.best_toeplitz(ticks)),
    "dense": (365, lambda ticks: dense.strategy(protected_class("user", 1, 1, ticks))),
}
"""Prefix sums, one flip a user: the horizon, and what chooses the strategy."""

TITLES = {
    "optimise": "Choosing a strategy for prefix sums; error = sensitivity² × mean variance",
    "simulate": f"Simulation of {SIMULATED_TICKS} ticks: processor time on one thread",
    "step": "One secure release at the last tick (unit user, W_BOUND 2): processor time",
}


def bench_mechanisms(
    reference_python: str | None, reference_seconds: float, trials: int, report: Progress
) -> dict[str, list[TableRow]]:
    """Three tables: `optimise`, `simulate`, `step`; see the functions of these names.

    Args:
        reference_python: an interpreter that has jax-privacy 2.0, or None to leave it out.
        reference_seconds: after which one of its three problems is given up.
        trials: series simulated at once.
    """
    names = list(MECHANISMS)
    tables: dict[str, list[TableRow]] = {"optimise": [], "simulate": [], "step": []}
    with threadpool_limits(1):
        for problem in PROBLEMS:
            report(f"optimise {problem}", 0.0)
            tables["optimise"].append(optimise(problem, reference_python, reference_seconds))
        for number, name in enumerate(names):
            if MECHANISMS[name].strategy:
                report(f"simulate {name}", 0.5 + 0.1 * number / len(names))
                tables["simulate"].append(simulate(name, trials))
        for number, name in enumerate(names):
            report(f"step {name}", 0.6 + 0.4 * number / len(names))
            tables["step"] += step(name)
    return tables


def optimise(problem: str, reference_python: str | None, reference_seconds: float) -> TableRow:
    """Seconds and error (sensitivity² × mean variance) of one of PROBLEMS, and of jax-privacy on the same.

    `ratio` is how many times as long jax-privacy took. Where it was given up, `jax_seconds` and `ratio` are what it
    took at least and `jax_finished` is false; where it is not installed they are None.
    """
    horizon, choose = PROBLEMS[problem]
    started = time.perf_counter()
    strategy = choose(horizon)
    seconds = time.perf_counter() - started
    protected = protected_class("user", 1, 1, horizon)
    error = strategy.sensitivity_squared(protected) * float(strategy.decoder_energy(horizon).mean())
    found = _reference(problem, horizon, reference_python, reference_seconds) if reference_python else None
    return {
        "problem": problem,
        "horizon": horizon,
        "seconds": round(seconds, 3),
        "error": round(error, 6),
        "jax_seconds": found and round(found["seconds"], 1),
        "jax_error": found and found["error"] and round(found["error"], 6),
        "jax_finished": found and found["error"] is not None,
        "ratio": found and round(found["seconds"] / seconds),
    }


def simulate(name: str, trials: int) -> TableRow:
    """Noisy ticks a second and core over a year of MAU (user-day, W_BOUND 2), and where the time goes.

    Processor time, the best of some repeats, so that other work on the machine does not count.
    """
    chosen = linear_design(name, protected_class("user-day", 30, 2, SIMULATED_TICKS))
    mechanism = calibrate_linear([chosen], GUARANTEE, [1.0])[0]
    generator = np.random.default_rng(0)
    counts = np.zeros(SIMULATED_TICKS, dtype=np.int64)
    shape = (trials, mechanism.strategy.draws(0, SIMULATED_TICKS))
    noise = mechanism.noise.seeded(generator, shape)
    ticks = trials * SIMULATED_TICKS
    whole = processor_seconds(lambda: mechanism.simulate(counts, trials, generator))
    drawing = processor_seconds(lambda: mechanism.noise.seeded(generator, shape))
    decoding = processor_seconds(lambda: mechanism.strategy.decode(noise))
    return {
        "mechanism": name,
        "million_ticks_per_second": round(ticks / whole / 1e6, 1),
        "noise_ns": round(1e9 * drawing / ticks, 1),
        "decode_ns": round(1e9 * decoding / ticks, 1),
        "draws_per_tick": round(shape[1] / SIMULATED_TICKS, 2),
    }


def step(name: str) -> list[TableRow]:
    """One secure release at the last tick of each of HORIZONS: state in, OpenDP draws, interval, state out.

    The class is the unit user with W_BOUND 2, which every mechanism serves. `step_ms` is the median, `first_ms` the
    first step of a process, which computes what later ones use again. All in processor time. None where choosing the
    strategy would take too long.
    """
    rows: list[TableRow] = []
    seconds = 0.0
    for horizon in HORIZONS:
        row: TableRow = {
            "mechanism": name,
            "horizon": horizon,
            "design_seconds": None,
            "step_ms": None,
            "first_ms": None,
        }
        rows.append(row)
        if seconds > LONGEST_DESIGN:
            continue
        # `optimal` may choose buffers too: what another mechanism chose before must not save it the time.
        buffered_toeplitz.strategy.cache_clear()
        started = time.process_time()
        protected = protected_class("user", 1, 2, horizon)
        mechanism = calibrate_designs([design(name, protected)], GUARANTEE, [1.0])[0]
        seconds = time.process_time() - started
        linear = None if mechanism.data_dependent else linear_design(name, protected)
        state, counts = last_state(mechanism, linear, horizon)
        times = step_milliseconds(mechanism, state, counts)
        row |= {
            "design_seconds": round(seconds, 2), "step_ms": round(median(times[1:]), 3), "first_ms": round(times[0], 1),
        }  # fmt: skip
    return rows


def step_milliseconds(mechanism: Mechanism, state: State, counts: Integers) -> list[float]:
    """Processor time of the same secure release, again and again."""
    return [1000 * seconds_once(lambda: mechanism.run(state, counts, secure_source, 0.95)) for _ in range(STEPS)]


def last_state(mechanism: Mechanism, linear: LinearDesign | None, horizon: int) -> tuple[State, Integers]:
    """A state before the last tick and the counts of that tick; `linear` is the design of a linear mechanism.

    The state has the size that it would have in a stream; what it remembers is made up where a stream would take long.
    """
    seeded = seeded_source(np.random.default_rng(0))
    if mechanism.bounds is not None:
        nobody = np.zeros((horizon, 2 * len(mechanism.bounds)), dtype=np.int64)
        return mechanism.run(EMPTY_STATE, nobody[1:], seeded, 0.95)[0], nobody[:1]
    counts = np.full(3, 1000, dtype=np.int64)
    state, _ = mechanism.run(EMPTY_STATE, counts, seeded, 0.95)
    if linear is not None:
        remembered = linear.strategy.memory(horizon - 2)
        if remembered != len(state.secret):
            state = State(0, np.zeros(remembered, dtype=np.int64), np.zeros(remembered))
    return state._replace(tick=horizon - 1), counts[:1]


def _reference(problem: str, horizon: int, python: str, limit: float) -> dict[str, Any]:
    """Seconds and error of jax-privacy in a process of its own; the limit and None where it was given up.

    Raises:
        RuntimeError: the interpreter does not have it, or it failed.
    """
    script = Path(__file__).with_name("jax.py")
    command = [python, str(script), problem, str(horizon)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        assert child.stdout is not None
        # Importing does not count: the clock starts when the child says so.
        ready = child.stdout.readline() == "ready\n"
        timer = threading.Timer(limit, child.kill)
        timer.start()
        output = child.stdout.read()
        child.wait()
        timer.cancel()
        errors.seek(0)
        trouble = errors.read()[-300:].strip()
    if not ready:
        raise RuntimeError(f"{python} cannot run jax-privacy 2.0: {trouble}")
    if not output and child.returncode == -signal.SIGKILL:
        return {"seconds": limit, "error": None}
    if child.returncode:
        raise RuntimeError(f"jax-privacy failed on {problem}: {trouble}")
    found: dict[str, Any] = json.loads(output)
    return found


def reference_python() -> str | None:
    """This interpreter if it has jax-privacy (`make setup EXTRAS="--extra bench"`), else None."""
    found = subprocess.run([sys.executable, "-c", "import jax_privacy"], capture_output=True, check=False)
    return sys.executable if found.returncode == 0 else None
