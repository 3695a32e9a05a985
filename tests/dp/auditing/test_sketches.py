"""Every registered sketch audited or refused; the scores are likelihood ratios; sketches made wrong are flagged.

Power. At 100,000 trials the ratios that are asked for were reached with each of 20 other seeds, and none was flagged;
half the noise, a user who counts twice and half the flips were flagged with each of 100. Laws: in ten runs with other
seeds of 20,000 sketches, and in two with 2,000 real salts, p was below 1e-15 for a user more or fewer and for a share
kept of .95, and above 0.005 for what is right; the limit is 1e-6. Coins of the operating system have no seed: their
flag's level is a millionth.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy.stats import chisquare

from dp.accounting.composition import Guarantee
from dp.auditing.case import Case
from dp.auditing.options import AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sketches import SKETCH_CASES, audit_sketch
from dp.auditing.sketches.estimates import estimate_case
from dp.auditing.sketches.flipped_bits import LEVELS, LG_BUCKETS, bit_case
from dp.auditing.sketches.secret_registers import (
    REGISTER_COUNTS,
    SecretRegisters,
    log_ratio,
    register_distribution,
    registers_of_hashes,
    sample_registers,
    table_scores,
    worst_others,
)
from dp.auditing.twins import TWINS
from dp.auditing.verdict import audit_case
from dp.mechanisms import LinearMechanism
from dp.noise import GaussianNoise, LaplaceNoise
from dp.release import Request, Sample, plan_release
from dp.sketches import SKETCHES
from dp.sketches.bit_matrix import BitMatrix
from dp.sketches.flipped import secure_flips
from dp.sketches.fm import FlajoletMartin
from dp.sketches.gf2 import gf2
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.sfm import sfm
from tests.dp.auditing.audits import PURE, USUAL
from tests.laws import each

SALT = bytes(16)
LEVEL = 1e-6
PROMISING = [name for name, family in SKETCHES.items() if family.contract.kind != "none"]
SENSITIVE = [name for name, family in SKETCHES.items() if family.contract.kind == "sensitivity"]


def audited(name: str, claim: Guarantee, trials: int = 100_000, seed: int = 3) -> dict[str, Audit]:
    found = audit_sketch(name, claim, trials, np.random.default_rng([seed, *name.encode()]))
    return {audit.view: audit for audit in found}


# --- Every sketch ----------------------------------------------------------------------------------------------------

REACHED = {
    "exact": {"estimate": 0.9},
    "bitmap": {"estimate": 0.9},
    "fixed-rate": {"estimate": 0.9},
    "fm": {"1 register": 0.9, "2 registers": 0.85},
    # The event that tells all happens to one sketch in 20, with the user to one in 55.
    "order-invariant": {"1 register": 0.9, "2 registers": 0.5},
    "sfm": {"bits": 0.9, "merger": 0.9},
    "gf2": {"bits": 0.9, "merger": 0.9},
}
"""Of the claim, at ε = 1 and δ = 0."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "fm" else name for name in SKETCHES]
)
def test_every_sketch_is_audited_or_refused_with_its_reason(name):
    if SKETCHES[name].contract.kind == "none":
        assert name not in SKETCH_CASES
        assert f"noise-on-{name}" in TWINS, "what is refused is shown to be right"
        with pytest.raises(ValueError, match="promises nothing") as refused:
            audit_sketch(name, PURE, 1000, np.random.default_rng(0))
        assert str(refused.value).endswith(SKETCHES[name].refusal)
        return
    found = audited(name, PURE)
    assert found.keys() == REACHED[name].keys()
    for seen, audit in found.items():
        assert not audit.flagged
        assert audit.subject == name
        assert audit.claim.delta == 0
        assert audit.ratio >= REACHED[name][seen]
    assert next(iter(found.values())).claim == PURE


@each("name", SENSITIVE)
def test_estimates_with_gaussian_noise_are_audited_on_their_curve(name):
    (audit,) = audited(name, USUAL).values()
    assert not audit.flagged
    assert audit.claim == USUAL
    assert audit.worst == pytest.approx(1.0)
    assert 0.75 < audit.ratio < 1.05
    assert audit.measured > audit.epsilon


def test_a_sketch_with_a_delta_is_made_for_it_and_others_ignore_it():
    assert {audit.claim for audit in audited("fm", USUAL, 2000).values()} == {USUAL}
    assert {audit.claim for audit in audited("order-invariant", USUAL, 2000).values()} == {PURE}
    assert audited("sfm", USUAL, 2000)["bits"].claim == PURE


@pytest.mark.parametrize("name", ["sfm", "gf2"])
def test_a_merger_is_held_to_the_epsilon_that_it_names(name):
    claimed = audited(name, PURE, 100)["merger"].claim.epsilon
    kept = {"sfm": (1 - np.exp(-1)) ** 2, "gf2": np.tanh(0.5) ** 2}[name]
    assert claimed == pytest.approx({"sfm": -np.log1p(-kept), "gf2": 2 * np.arctanh(kept)}[name])


def test_the_level_of_flags_is_shared_trials_are_counted_and_progress_is_reported():
    done: list[float] = []
    found = audit_sketch("sfm", PURE, 5001, np.random.default_rng(0), AuditOptions(flag_level=0.02, report=done.append))
    assert [(audit.flag_level, audit.trials) for audit in found] == [(0.01, 5000)] * 2
    assert done == sorted(done)
    assert done[-1] == 1.0


@each("name", PROMISING)
def test_a_seed_says_it_all(name):
    assert audited(name, PURE, 400) == audited(name, PURE, 400)


def test_what_cannot_be_audited_is_refused():
    with pytest.raises(ValueError, match="choose one of exact"):
        audit_sketch("bloom", PURE, 1000, np.random.default_rng(0))
    with pytest.raises(ValueError, match="trials is 10"):
        audit_sketch("sfm", PURE, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="epsilon is 40"):
        audit_sketch("order-invariant", Guarantee(40.0, 0.0), 1000, np.random.default_rng(0))


# --- Estimates -------------------------------------------------------------------------------------------------------


@each("claim", [PURE, Guarantee(3.0, 1e-6)])
@each("rate", [1.0, 0.1])
def test_half_the_noise_on_an_estimate_is_flagged_and_so_is_a_user_who_counts_twice(claim, rate):
    sketch = {"sketch": "fixed-rate", "sample": Sample(rate, "s")} if rate < 1 else {}
    mechanism = plan_release(
        Request(
            {"dau": 1}, "user-day", 2, claim, "gaussian" if claim.delta else "laplace",
            date(2026, 1, 1), 1, {"dau": 1.0}, **sketch,
        )
    ).series[0].mechanism  # fmt: skip
    assert isinstance(mechanism, LinearMechanism)
    noise = LaplaceNoise if claim.delta == 0 else GaussianNoise
    halved = replace(mechanism, noise=noise(mechanism.noise.scale // 2))

    def flagged(made: LinearMechanism, moved: float) -> bool:
        case = estimate_case("exact", made, claim, 500 / rate, (500 + moved) / rate, rate)
        return audit_case(case, 20_000, np.random.default_rng(5))[0].flagged

    assert not flagged(mechanism, 1)
    assert not flagged(mechanism, -1)
    assert flagged(halved, 1)
    assert flagged(halved, -1)
    assert flagged(mechanism, 2)


# --- Flipped bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sfm, gf2])
def test_the_score_of_bits_is_the_likelihood_ratio_of_all_matrices(make):
    """Of all 65,536 matrices of sixteen bits, one after the other by coins that fall as they are told."""
    design: BitMatrix = make(1.0, 3, 2)
    before = design.empty().add(np.array([3, 5, 2**62]))
    after = next(
        one
        for one in (before.add(np.array([key])) for key in np.random.default_rng(1).integers(-(2**63), 2**63, 50))
        if (one.bits != before.bits).any()
    )
    every = np.array(list(itertools.product((False, True), repeat=16)))
    logs = [
        np.where(every == sketch.bits, np.log1p(-design.flip), np.log(design.flip)).sum(axis=1)
        for sketch in (before, after)
    ]
    case = bit_case("sketch", "bits", PURE, [before], [after], lambda generator: lambda flip, size: coins)
    for scores, sketch in ((case.unchanged, before), (case.changed, after)):
        coins = (every ^ sketch.bits).ravel()
        found = scores(len(every), np.random.default_rng(0))
        np.testing.assert_allclose(2 * found - 1, logs[1] - logs[0], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("make", [sfm, gf2])
def test_secure_coins_keep_the_claim_and_half_of_them_do_not(make):
    nobody = make(1.0, LG_BUCKETS, LEVELS).empty()
    user = nobody.add(np.array([7]))
    right = bit_case("secure", "bits", PURE, [nobody], [user], lambda generator: secure_flips)
    half = bit_case(
        "secure", "bits", PURE, [nobody], [user], lambda generator: lambda flip, n: secure_flips(flip / 2, n)
    )

    def flagged(case: Case) -> bool:
        return audit_case(case, 20_000, np.random.default_rng(0), AuditOptions(flag_level=1e-6))[0].flagged

    assert not flagged(right)
    assert flagged(half)


# --- Registers -------------------------------------------------------------------------------------------------------


def user_by_user(design: SecretRegisters, users: int, highest: int) -> np.ndarray:
    """P(registers) by adding one user after the other; ranks from `highest` on are one; shape (highest + 1,) * m."""
    many = design.registers
    growth = 2.0 if isinstance(design, OrderInvariant) else 1 + design.growth
    above = np.append(design.kept * growth ** -np.arange(highest), 0.0)
    rank = -np.diff(above, prepend=1.0)
    if isinstance(design, OrderInvariant):
        one_user = {(place, value): chance / many for place in range(many) for value, chance in enumerate(rank)}
        moves = [(((place, value),), chance) for (place, value), chance in one_user.items()]
    else:
        moves = [
            (tuple(enumerate(values)), float(np.prod(rank[list(values)])))
            for values in itertools.product(range(highest + 1), repeat=many)
        ]
    law = {(0,) * many: 1.0}
    for _ in range(users):
        after: dict[tuple[int, ...], float] = {}
        for state, probability in law.items():
            for raising, chance in moves:
                new = list(state)
                for place, value in raising:
                    new[place] = max(new[place], value)
                after[tuple(new)] = after.get(tuple(new), 0.0) + probability * chance
        law = after
    found = np.zeros((highest + 1,) * many)
    for state, probability in law.items():
        found[state] = probability
    return found


DESIGNS: list[SecretRegisters] = [
    OrderInvariant(1.0, SALT, 0),
    OrderInvariant(1.0, SALT, 1),
    OrderInvariant(1.0, SALT, 2),
    FlajoletMartin(0.7, SALT, 1, growth=1.0),
    FlajoletMartin(0.7, SALT, 2, growth=2.0),
]


@pytest.mark.parametrize("design", DESIGNS, ids=repr)
@pytest.mark.parametrize("users", [1, 2, 4])
def test_the_law_of_registers_is_that_of_the_slow_definition(design, users, monkeypatch):
    """With few ranks, so that every state can be tried."""
    monkeypatch.setattr("dp.auditing.sketches.secret_registers.LG_SMALLEST", 3)
    law = register_distribution(design, users)
    assert law == pytest.approx(user_by_user(design, users, len(law) - 1), abs=1e-15)
    assert law.sum() == pytest.approx(1.0)


def test_the_score_of_registers_is_the_log_ratio_of_the_law_and_never_above_the_claim():
    for epsilon, many in itertools.product((0.3, 1.0, 2.5), REGISTER_COUNTS):
        designs = [
            OrderInvariant(epsilon, SALT, many.bit_length() - 1),
            FlajoletMartin(epsilon / many, SALT, many),
        ]
        for design, others in itertools.product(designs, (0, 3)):
            table = log_ratio(design, others)
            laws = [register_distribution(design, design.phantoms + others + more) for more in (0, 1)]
            assert table == pytest.approx(np.log(laws[1] / laws[0]), abs=1e-6)
            assert np.abs(table).max() <= epsilon + 1e-6
            assert table[(0,) * many] == pytest.approx(-epsilon), "an empty sketch tells all"
            registers = np.array(list(itertools.product((0, 1, 200), repeat=many)), dtype=np.uint8)
            expected = [table[tuple(min(value, len(table) - 1) for value in row)] for row in registers]
            assert table_scores(table, registers).tolist() == expected


@each("lg_m", [0, 1, 3])
def test_sketches_side_by_side_are_what_each_is_alone(lg_m):
    design = OrderInvariant(1.0, SALT, lg_m)
    hashes = np.random.default_rng(2).integers(2**64, size=(300, 9), dtype=np.uint64)
    nobody = np.zeros(design.registers, dtype=np.uint8)
    alone = [design.with_hashes(nobody, row) for row in hashes]
    # A large sketch takes the bits that name the small ones from the tail of the fractions, nine of 64.
    assert (registers_of_hashes(design, hashes) == alone).all()
    assert registers_of_hashes(design, hashes[:1]).tolist() == [alone[0].tolist()]


def fits(registers: np.ndarray, law: np.ndarray) -> float:
    """p of a χ² test of states against their law; states that are rare are one."""
    states = np.ravel_multi_index(tuple(np.minimum(registers, len(law) - 1).T.astype(np.intp)), law.shape)
    expected = np.maximum(law.ravel(), 0.0) * len(registers)
    counted = np.bincount(states, minlength=law.size)
    often = expected >= 10
    return float(
        chisquare(
            np.append(counted[often], counted[~often].sum()),
            np.append(expected[often], len(registers) - expected[often].sum()),
        ).pvalue
    )


SMALL: list[SecretRegisters] = [
    OrderInvariant(1.0, SALT, 0),
    OrderInvariant(1.0, SALT, 1),
    FlajoletMartin(0.5, SALT, 1),
    FlajoletMartin(0.5, SALT, 2),
]


@each("design", SMALL)
def test_sketches_side_by_side_have_the_law_of_fresh_salts(design):
    registers = sample_registers(design, 3, 20_000, np.random.default_rng(4))
    assert registers.shape == (20_000, design.registers)
    assert fits(registers, register_distribution(design, design.phantoms + 3)) > LEVEL
    assert fits(registers, register_distribution(design, design.phantoms + 2)) < LEVEL
    keeping = replace(design, **{"epsilon" if isinstance(design, OrderInvariant) else "epsilon_register": 3.0})
    assert fits(registers, register_distribution(keeping, design.phantoms + 3)) < LEVEL


@pytest.mark.slow
def test_a_sketch_of_a_fresh_salt_and_real_keys_has_the_same_law():
    generator = np.random.default_rng(5)
    for design in (OrderInvariant(1.0, SALT, 1), FlajoletMartin(0.5, SALT, 2)):
        keys = generator.integers(-(2**63), 2**63, 2)
        registers = [
            replace(design, salt=generator.bytes(16)).empty().add(keys).registers.tolist() for _ in range(2000)
        ]
        assert fits(np.array(registers), register_distribution(design, design.phantoms + 2)) > LEVEL
        assert fits(np.array(registers), register_distribution(design, design.phantoms + 3)) < LEVEL


@pytest.mark.parametrize("many", REGISTER_COUNTS)
def test_the_worst_number_of_others_is_none_because_an_empty_sketch_grows_rare(many):
    design = OrderInvariant(1.0, SALT, many.bit_length() - 1)
    assert worst_others(design, PURE, 100_000) == 0
    empty = [register_distribution(design, design.phantoms + others)[(0,) * many] for others in range(3)]
    assert empty == sorted(empty, reverse=True)
