"""The accountants: a literal dict from the name on the command line to how ε is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dp.accounting import advanced, gdp, naive, pld, rdp, zcdp
from dp.accounting.accountant import Accountant, Answer
from dp.accounting.mechanism_events import MechanismEvent, merge
from dp.extensions import known_names, registered
from dp.progress import Progress, silent


@dataclass(frozen=True)
class AccountantFamily:
    """An accountant, and what a reader should know of it."""

    account: Accountant
    summary: str


ACCOUNTANTS: dict[str, AccountantFamily] = {
    "naive": AccountantFamily(naive.account, "ε and δ add up"),
    "advanced": AccountantFamily(
        advanced.account, "optimal composition of (ε, δ) guarantees, whatever the mechanisms are"
    ),
    "zcdp": AccountantFamily(zcdp.account, "ρ adds up; ε by the best Rényi order"),
    "rdp": AccountantFamily(rdp.account, "Rényi divergences add up, order by order"),
    "gdp": AccountantFamily(gdp.account, "μ² adds up; exact for Gaussian noise"),
    "pld": AccountantFamily(pld.account, "the privacy losses themselves add up, on a grid; close to exact for all"),
}


def family_of(name: str) -> AccountantFamily:
    """An accountant: one of `ACCOUNTANTS`, or of another package (`dp.extensions`).

    Raises:
        ValueError: the name is unknown.
    """
    return registered("accountants", name, ACCOUNTANTS, AccountantFamily)


def compose(
    parts: Iterable[MechanismEvent],
    delta: float,
    report: Progress = silent,
) -> dict[str, Answer]:
    """What each accountant says of all releases together, by name.

    Args:
        parts: the releases; they may be chosen adaptively, one after the other.
        delta: of all together; at 0, only pure releases have an ε.
        report: is told the stage and the fraction done.

    Raises:
        ValueError: there are no releases, or delta is out of range.
    """
    given = list(parts)
    if not given:
        raise ValueError("there are no releases to compose; name at least one")
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; it must lie between 0 (pure) and 1, for instance 1e-6")
    merged = merge(given)
    answers, names = {}, known_names("accountants", ACCOUNTANTS)
    for number, name in enumerate(names):
        report(f"accounting by {name}", number / len(names))
        answers[name] = family_of(name).account(merged, delta)
    return answers


def best(answers: dict[str, Answer]) -> str | None:
    """The name of the smallest ε, None if no accountant applies.

    An exact answer goes first: nothing valid lies below it, but rounding may.
    """
    ranked = {
        name: (not answer.exact, answer.epsilon) for name, answer in answers.items() if answer.epsilon is not None
    }
    return min(ranked, key=lambda name: ranked[name]) if ranked else None
