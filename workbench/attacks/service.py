"""Somebody runs the live service or calls it: puts old copies of its files back, closes days twice and at once, moves
its clock, repeats requests, and sends operations late and again for a user who is erased and returns after a restart.

They win if a published number changes, if something is drawn or charged twice, or if the user moves the counts more
often than W_BOUND says.
"""

from __future__ import annotations

from functools import partial

from dp.auditing.attacks import OURS, Observation, Setting
from dp.auditing.attacks.outcome import Target
from workbench.attacks.clock import clock_moves
from workbench.attacks.copies import crash, old_copies
from workbench.attacks.influence import influence, one_day_again
from workbench.attacks.repeats import processes_of, reloads, repeats
from workbench.attacks.twins import Forgetful, Monthly, Resetting, Trusting, open_with, open_with_own_ledger
from workbench.service import open_service

CRITERION = (
    "an older ledger or store is refused, a day has one row a metric and a request one answer whoever asks and however "
    "often, a budget holds whatever the clock says, and the user flips at most W_BOUND times in the counts"
)


def ours(setting: Setting) -> tuple[Observation, ...]:
    """The service as it is."""
    return (
        *old_copies(setting, open_service),
        crash(setting),
        *repeats(setting, open_service, processes_of(setting)),
        reloads(setting),
        *clock_moves(setting, open_service),
        *influence(setting, open_service),
        one_day_again(setting),
    )


def trusting(setting: Setting) -> tuple[Observation, ...]:
    """A service that does not compare its ledger with its store."""
    return tuple(old_copies(setting, partial(open_with, account=Trusting)))


def scattered(setting: Setting) -> tuple[Observation, ...]:
    """A service of several processes, each with a ledger of its own."""
    return tuple(repeats(setting, open_with_own_ledger, processes_of(setting)))


def forgetful(setting: Setting) -> tuple[Observation, ...]:
    """A service that does not know a repeated request; one process shows it."""
    return tuple(repeats(setting, partial(open_with, account=Forgetful), processes=1))


def monthly(setting: Setting) -> tuple[Observation, ...]:
    """A service whose fresh releases have a new budget every month of its clock."""
    return tuple(clock_moves(setting, partial(open_with, account=Monthly)))


def resetting(setting: Setting) -> tuple[Observation, ...]:
    """A service in which an erasure resets the counter of flips."""
    return tuple(influence(setting, partial(open_with, store=Resetting)))


TARGETS: dict[str, Target] = {
    OURS: ours,
    "a service that trusts the ledger it finds": trusting,
    "a ledger for every process": scattered,
    "keys of requests that are forgotten": forgetful,
    "a budget for every month of the clock": monthly,
    "a counter of flips that erasure resets": resetting,
}
