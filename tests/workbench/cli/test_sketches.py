"""The command that lists the sketches, and the table behind it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dp.sketches import SKETCHES, family_of
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.fm import FlajoletMartin
from dp.sketches.table import EXAMPLE_USERS, described, sketch_rows, some_keys
from tests.conftest import Run


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, object]]:
    return {str(row["sketch"]): row for row in sketch_rows()}


def test_every_sketch_has_a_row_that_says_what_it_promises(rows: dict[str, dict[str, object]]) -> None:
    assert list(rows) == list(SKETCHES)
    for name, row in rows.items():
        family = family_of(name)
        assert (row["removes"], row["merges"], row["error"]) == (family.removes, family.merges, family.error)
        assert (row["privacy"], row["contract"]) == (family.contract.kind, family.contract.words)
        assert (row["release"] == "no") == bool(row["refusal"])
        assert row["summary"]
        assert row["source"]
    assert [name for name, row in rows.items() if row["release"] == "yes"] == ["exact", "bitmap", "fixed-rate"]


def test_bytes_are_measured_and_errors_are_those_of_the_example(rows: dict[str, dict[str, object]]) -> None:
    assert rows["exact"]["bytes"] == 8 * EXAMPLE_USERS
    # 5,000 users of 8 bytes are sampled on average, ± √(5000·0.95) of them.
    assert rows["fixed-rate"]["bytes"] == pytest.approx(40_000, abs=4 * 8 * 69)
    assert rows["fixed-rate"]["relative_error_percent"] == pytest.approx(
        100 * np.sqrt(0.95 / 0.05 / EXAMPLE_USERS), abs=5e-4
    )
    # What is published, which is flipped, and not what is held.
    assert rows["sfm"]["relative_error_percent"] == pytest.approx(2.73, abs=0.02)
    assert rows["exact"]["relative_error_percent"] == 0
    assert rows["bitmap"]["bytes"] < rows["exact"]["bytes"] / 10  # type: ignore[operator]


def test_another_example_is_another_row() -> None:
    halved = replace(SKETCHES["fixed-rate"], example={"rate": 0.5})
    (row,) = sketch_rows({"fixed-rate": halved})
    assert row["parameters"] == "rate 0.5"
    assert row["bytes"] == pytest.approx(400_000, rel=0.02)


def test_parameters_are_named_and_salts_are_not_shown() -> None:
    assert described(FixedRate(0.05)) == "rate 0.05"
    words = described(FlajoletMartin(0.01, b"0123456789abcdef", 64))
    assert "registers 64" in words
    assert "salt" not in words
    assert "0123" not in words


def test_users_of_examples_are_different_ones() -> None:
    for name in ("exact", "bitmap"):
        keys = some_keys(family_of(name), 1000, bytes(16))
        assert keys.dtype == np.int64
        assert len(np.unique(keys)) == 1000
        assert not np.array_equal(keys, some_keys(family_of(name), 1000, bytes(15) + b"1"))
    assert np.sort(some_keys(family_of("bitmap"), 1000, bytes(16)))[[0, -1]].tolist() == pytest.approx(
        [0, 1999], abs=30
    )


@pytest.mark.slow
def test_the_command_lists_them_for_people_and_for_programs(run: Run) -> None:
    printed = run("sketches").stdout
    # A long name may be broken at its hyphen.
    assert all(name.split("-")[0] in printed for name in SKETCHES)
    assert max(map(len, printed.splitlines())) <= 120
    listed = json.loads(run("sketches", "--format", "json").stdout)
    assert [row["sketch"] for row in listed] == list(SKETCHES)
    refused = {row["sketch"] for row in listed if row["refusal"]}
    assert refused == {name for name, family in SKETCHES.items() if family.refusal}
    assert all({"contract", "source", "proof", "parameters"} <= set(row) for row in listed)
