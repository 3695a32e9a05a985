"""The benchmark of the mechanisms measures what it says, and what was made fast is still right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.mechanisms import EMPTY_STATE, GRID, MECHANISMS, design, linear_design, optimal
from dp.mechanisms import toeplitz as module
from dp.mechanisms.toeplitz import ToeplitzStrategy, damped_root_weights, quantise
from dp.noise import GaussianNoise
from dp.release.drawing import secure_source, seeded_source
from dp.units import protected_class
from workbench.bench import mechanisms as bench
from workbench.cli.main import main

pytestmark = pytest.mark.slow

SMALL = {"toeplitz": (64, optimal.best_toeplitz)}


def interpreter(folder: Path, body: str) -> str:
    """A program in the place of a Python with jax-privacy."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("damping", [1.0, 0.9])
def test_a_long_decoder_is_the_recursion_and_the_beginning_of_any_longer_one(damping: float) -> None:
    strategy = quantise(damped_root_weights(damping, 5000))
    impulse = np.zeros(5000)
    impulse[0] = 1.0
    recursion = lfilter([1.0], np.concatenate([[1.0], -np.array(strategy.weights) / GRID]), impulse)
    decoder = strategy.decoder(5000)
    np.testing.assert_allclose(decoder, recursion, rtol=0, atol=1e-15)
    for shorter in (1, 7, module.LONG, module.LONG + 1, 4096, 4097):
        assert strategy.decoder(shorter).tobytes() == decoder[:shorter].tobytes()


def test_a_decoder_without_weights_is_one_impulse_however_long() -> None:
    assert ToeplitzStrategy(()).decoder(5000).tolist() == [1.0] + 4999 * [0.0]


def test_decoding_in_blocks_is_the_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = quantise(damped_root_weights(0.97, 60))
    noise = np.random.default_rng(0).standard_normal((23, 50))
    expected = noise @ toeplitz(strategy.decoder(50), np.zeros(50)).T
    for together in (1, 100, 10**6):
        monkeypatch.setattr(module, "DECODED_AT_ONCE", together)
        np.testing.assert_allclose(strategy.decode(noise), expected, rtol=0, atol=1e-13)
    # The twin whose transform is too short wraps the end around to the beginning.
    monkeypatch.setattr(module.scipy.fft, "next_fast_len", lambda size, real: 50)
    assert np.abs(strategy.decode(noise) - expected).max() > 0.1


def test_secure_draws_are_fresh_though_their_measurement_is_kept() -> None:
    noise = GaussianNoise(10**9)
    assert not set(noise.secure(20).tolist()) & set(noise.secure(20).tolist())
    assert abs(int(GaussianNoise(1).secure(1)[0])) < 100


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_last_state_is_as_large_as_that_of_a_stream(name: str) -> None:
    horizon = 21
    protected = protected_class("user", 1, 2, horizon)
    mechanism = calibrate_designs([design(name, protected)], Guarantee(1.0, 1e-6), [1.0])[0]
    linear = None if mechanism.data_dependent else linear_design(name, protected)
    made_up, counts = bench.last_state(mechanism, linear, horizon)
    stream, _ = mechanism.run(
        EMPTY_STATE,
        np.repeat(counts, horizon - 1, axis=0),
        seeded_source(np.random.default_rng(1)),
        0.95,
    )
    assert made_up.tick == stream.tick == horizon - 1
    if linear is not None and stream.public.size:
        # A Toeplitz stream keeps up to as many counts as it has weights.
        assert len(made_up.secret) >= len(stream.secret)
        assert len(made_up.secret) <= len(stream.secret) + 1
    end, released = mechanism.run(made_up, counts, secure_source, 0.95)
    assert end.tick == horizon
    assert np.isfinite(released.estimates).all()


def test_a_step_is_measured_at_every_horizon_until_the_strategy_takes_too_long(monkeypatch) -> None:
    monkeypatch.setattr(bench, "HORIZONS", (8, 16))
    rows = bench.step("binary-tree")
    assert [row["horizon"] for row in rows] == [8, 16]
    assert all(0 < row["step_ms"] < 1000 for row in rows)
    monkeypatch.setattr(bench, "LONGEST_DESIGN", 0.0)
    assert [row["step_ms"] is None for row in bench.step("square-root")] == [False, True]


def test_simulation_counts_all_of_its_time() -> None:
    row = bench.simulate("square-root", 200)
    parts = row["noise_ns"] + row["decode_ns"]
    assert 0 < parts <= 5 * 1000 / row["million_ticks_per_second"]
    assert bench.simulate("honaker-tree", 5)["draws_per_tick"] == pytest.approx(1.98, abs=0.01)


def test_the_other_library_stands_beside_ours(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "PROBLEMS", SMALL)
    python = interpreter(tmp_path, """echo ready; echo '{"seconds": 50.0, "error": 5.5}'""")
    row = bench.optimise("toeplitz", python, 5.0)
    assert row["jax_seconds"] == 50.0
    assert row["jax_finished"] is True
    assert row["ratio"] > 10
    strategy = optimal.best_toeplitz(64)
    protected = protected_class("user", 1, 1, 64)
    assert row["error"] == pytest.approx(
        strategy.sensitivity_squared(protected) * strategy.decoder_energy(64).mean(), abs=1e-6
    )
    alone = bench.optimise("toeplitz", None, 5.0)
    assert alone["jax_seconds"] is alone["jax_finished"] is alone["ratio"] is None


def test_the_other_library_is_given_up_or_missed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "PROBLEMS", SMALL)
    row = bench.optimise("toeplitz", interpreter(tmp_path, "echo ready; exec sleep 60"), 0.1)
    assert (row["jax_seconds"], row["jax_error"], row["jax_finished"]) == (0.1, None, False)
    with pytest.raises(RuntimeError, match="no such module"):
        bench.optimise("toeplitz", interpreter(tmp_path, "echo no such module >&2; exit 1"), 0.1)
    with pytest.raises(RuntimeError, match="broke"):
        bench.optimise("toeplitz", interpreter(tmp_path, "echo ready; echo broke >&2; exit 1"), 5.0)


def test_the_command_prints_and_keeps_three_tables(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "PROBLEMS", SMALL)
    monkeypatch.setattr(bench, "HORIZONS", (8,))
    monkeypatch.setattr(bench, "MECHANISMS", {name: MECHANISMS[name] for name in ("gaussian", "sparse-vector")})
    python = interpreter(tmp_path, """echo ready; echo '{"seconds": 50.0, "error": 5.5}'""")
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(
        main, ["bench", "mechanisms", "--trials", "5", "--reference-python", python, "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    kept = json.loads(out.read_text())
    assert list(kept) == list(bench.TITLES)
    assert [len(rows) for rows in kept.values()] == [1, 1, 2]
    assert all(title in done.output for title in bench.TITLES.values())


def test_every_secure_step_takes_less_than_a_millisecond_where_streams_are_long() -> None:
    for name in ("square-root", "damped-square-root", "binary-tree", "buffered-toeplitz"):
        chosen = linear_design(name, protected_class("user-day", 30, 2, 4096))
        mechanism = chosen.with_scale(1e8)
        state, counts = bench.last_state(mechanism, chosen, 4096)
        assert min(bench.step_milliseconds(mechanism, state, counts)[1:]) < 1
