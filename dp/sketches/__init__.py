"""Counting distinct users in little memory: one protocol, one file a sketch, and what each of them promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dp.extensions import known_names, registered
from dp.sketches.bitmap import Bitmap
from dp.sketches.cpc import Cpc
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.fm import FlajoletMartin
from dp.sketches.gf2 import gf2
from dp.sketches.hll import Hll
from dp.sketches.kmv import Kmv
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.protocol import Contract, Design, Keys, Sketch, UnsupportedError
from dp.sketches.sfm import sfm
from dp.sketches.theta import Theta


@dataclass(frozen=True)
class Family:
    """A kind of sketch and what it can do.

    Attributes:
        make: the design from its parameters, by name; each has a default unless it is the user's to choose (a rate, ε).
        keys: "hash": keyed hashes of user ids; "number": whole numbers from 0 up that stand for users.
        removes: what becomes of users who leave. "yes"; "no"; "set difference": only a whole sketch of those who leave
            can be subtracted, at a loss; "toggles": adding and removing are the same operation, so that neither may
            happen twice.
        merges: what the merger of two sketches is a sketch of.
        contract: what privacy holds.
        error: the formula of the standard error, in words; `Design.standard_error` computes it.
        summary: what it does, in half a sentence.
        source: paper and section.
        refusal: why a release cannot put a mechanism's noise on its counts; empty where it can (the proof is
            `contract.proof`).
        example: parameters that have no default, as `dp.sketches.table` chooses them; a salt in it is no secret.
    """

    make: Callable[..., Design]
    keys: Literal["hash", "number"]
    removes: Literal["yes", "no", "set difference", "toggles"]
    merges: Literal["union", "symmetric difference"]
    contract: Contract
    error: str
    summary: str
    source: str
    refusal: str = ""
    example: Mapping[str, object] = field(default_factory=dict)


SKETCHES: dict[str, Family] = {
    "exact": Family(
        make=Exact,
        keys="hash",
        removes="yes",
        merges="union",
        contract=Contract("sensitivity", "one user moves the count by at most 1", "1"),
        error="0",
        summary="the set of all keys",
        source="—",
    ),
    "bitmap": Family(
        make=Bitmap,
        keys="number",
        removes="yes",
        merges="union",
        contract=Contract("sensitivity", "one user moves the count by at most 1", "1"),
        error="0",
        summary="the set of all users' numbers, as a Roaring bitmap",
        source="Lemire et al. 2018",
    ),
    "fixed-rate": Family(
        make=FixedRate,
        keys="hash",
        removes="yes",
        merges="union",
        contract=Contract("sensitivity", "one user moves the estimate by at most 1/rate, whatever the salt", "16.1"),
        error="√(n(1 − p)/p) for the rate p",
        summary="keeps a fixed share of all users, chosen by their keys",
        source="Gibbons 2001, section 3",
        example={"rate": 0.05},
    ),
    "kmv": Family(
        make=Kmv,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract(
            "none", "a user whose key is small moves the estimate by about n/k users, at times by more", "16.7"
        ),
        error="√(n(n − k + 1)/(k − 2)) from k users on, else 0",
        summary="the k smallest keys",
        source="Bar-Yossef et al. 2002; Beyer et al. 2007",
        refusal=(
            "one user with a small key replaces the k-th smallest and moves the estimate by about n/k users "
            "(at n = 1,000,000 and k = 4096 by 244, now and then by five times that); no bound holds for every log"
        ),
    ),
    "theta": Family(
        make=Theta,
        keys="hash",
        removes="set difference",
        merges="union",
        contract=Contract(
            "none", "a user whose hash is small moves the estimate by about n/k users, at times by more", "16.7"
        ),
        error="√(n(n − k)/(k − 1)) above k users, else 0; √(d(n − k)/(k − 1)) when d of n are left",
        summary="the k smallest hashes and a threshold (Apache DataSketches)",
        source="Dasgupta et al. 2016",
        refusal=(
            "one user with a small hash lowers the threshold and moves the estimate by about n/k users "
            "(at n = 1,000,000 and k = 4096 by 244, now and then by five times that); no bound holds for every log"
        ),
    ),
    "hll": Family(
        make=Hll,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract(
            "none", "a user who raises a register moves the estimate by about 1.4 n/k users or more", "16.7"
        ),
        error="≈ 0.8326 n/√k as it grows, ≈ 1.0389 n/√k once merged; below 3k/32 users √(n(n − 1)/(6·2^26))",
        summary="the largest rank in each of k registers (Apache DataSketches)",
        source="Flajolet et al. 2007; Ting 2014",
        refusal=(
            "one user who raises a register moves the estimate by about 1.4 n/k users "
            "(at n = 1,000,000 and k = 4096 by 338, once merged by more if the register was low); "
            "no bound holds for every log"
        ),
    ),
    "cpc": Family(
        make=Cpc,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract("none", "a user who sets a new bit moves the estimate by about 0.7 n/k users", "16.7"),
        error="≈ 0.5887 n/√k as it grows, ≈ 0.6931 n/√k once merged",
        summary="a bit for every rank in each of k rows, compressed (Apache DataSketches)",
        source="Lang 2017",
        refusal=(
            "one user who sets a new bit moves the estimate by about 0.7 n/k users "
            "(at n = 1,000,000 and k = 2048 by 338); no bound holds for every log"
        ),
    ),
    "fm": Family(
        make=FlajoletMartin,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract(
            "intrinsic",
            "(ε, δ) of m ε′-DP registers for sets of every size, while the salt is secret; one published sketch a salt",
            "16.4",
        ),
        error="1.004 n/√m for large n, 1.26/(ε′√m) for the estimate of nobody, before it is cut off at zero",
        summary="in each of m registers the largest of all users' geometric numbers, above a floor, with phantom users",
        source="Smith, Song, Thakurta 2020",
        refusal=(
            "one user who raises registers moves the estimate by more than any bound that holds for every log; "
            "no noise is needed: its registers are private by the secret hash, in one published sketch a salt"
        ),
        example={"epsilon_register": 0.0074, "salt": bytes(16)},
    ),
    "order-invariant": Family(
        make=OrderInvariant,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract(
            "intrinsic",
            "ε for sets of every size, while the salt is secret; one published sketch a salt",
            "16.3",
        ),
        error="1.037 n/√m for large n, √(m(1.6 − π))/π of nobody, before it is cut off at zero; π = 1 − e^(−ε)",
        summary="HyperLogLog of a share π of all users, with phantom users",
        source="Dickens, Thaler, Ting 2022",
        refusal=(
            "one user who raises a register moves the estimate by more than any bound that holds for every log; "
            "no noise is needed: the sketch is private by its secret hash, in one published sketch a salt"
        ),
        example={"epsilon": 1.0, "salt": bytes(16)},
    ),
    "sfm": Family(
        make=sfm,
        keys="hash",
        removes="no",
        merges="union",
        contract=Contract(
            "intrinsic",
            "ε for every published sketch of its own, whoever knows the hash; flipping again costs ε again",
            "16.5",
        ),
        error="at most 0.65 n/√m; published, from 2m users on, 1.75 n/√m at ε = 1 and 3.4 n/√m at ε = 0.5",
        summary="a bit for every rank in each of m buckets, published with flipped bits",
        source="Hehir, Ting, Cormode 2023, section 4",
        refusal=(
            "one user who sets a bit of a high level moves the estimate by about 0.42 n/m users "
            "(at n = 1,000,000 and m = 4096 by about 103); no bound holds for every log, "
            "and none is needed: the flipped bits are private by themselves"
        ),
        example={"epsilon": 1.0},
    ),
    "gf2": Family(
        make=gf2,
        keys="hash",
        removes="toggles",
        merges="symmetric difference",
        contract=Contract(
            "intrinsic",
            "ε for every published sketch of its own, whoever knows the hash; flipping again costs ε again",
            "16.5",
        ),
        error="at most 1.3 n/√m; published, from 2m users on, 3.5 n/√m at ε = 1 and 6.7 n/√m at ε = 0.5",
        summary="a parity for every rank in each of m buckets, published with flipped bits",
        source="Pagh, Stausholm 2021",
        refusal=(
            "one user who toggles a bit of a high level moves the estimate by about 1.7 n/m users "
            "(at n = 1,000,000 and m = 4096 by about 420); no bound holds for every log, "
            "and none is needed: the flipped bits are private by themselves"
        ),
        example={"epsilon": 1.0},
    ),
}


def family_of(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: there is none.
    """
    family = registered("sketches", name, SKETCHES, Family)
    if family is None:
        raise ValueError(f"sketch is {name!r}; choose one of {', '.join(known_names('sketches', SKETCHES))}")
    return family


__all__ = ["SKETCHES", "Contract", "Design", "Family", "Keys", "Sketch", "UnsupportedError", "family_of"]
