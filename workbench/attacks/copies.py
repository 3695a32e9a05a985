"""Old copies of the service's files are put back, or it is given another ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import msgspec

from dp.auditing.attacks import Observation, Setting
from workbench.attacks.asking import (
    Answers,
    FixedClock,
    Opener,
    ask,
    changes_between,
    days_of,
    make_budget,
    now_of,
    running,
    settings_of,
    small_crowd,
)
from workbench.attacks.twins import open_with
from workbench.service import Settings, open_service
from workbench.service.store import Store

BACKED_UP = 3
"""Days after which the files are copied."""


def old_copies(setting: Setting, opened: Opener) -> Iterator[Observation]:
    """Copy the files, publish more, put old ones back and ask for the same days; or give the store another ledger."""
    days, clock = days_of(setting), FixedClock(now_of(setting))
    settings = settings_of(setting)
    folder = settings.store_path.parent
    with opened(settings, clock) as service:
        service.ingest(small_crowd(setting, days))
    ask(opened, settings, clock, days[:BACKED_UP], "before")
    copy = _copied(folder, setting)
    answers = ask(opened, settings, clock, days, "after")

    def put_back(*files: Path, live: bool = False) -> int:
        now = _moved(settings, _copied(folder, setting))
        with opened(now, clock) if live else nullcontext() as service:
            for file in files:
                shutil.copy(copy / file.name, now.store_path.parent)
            way: Opener = opened if service is None else partial(running, service)
            return changes_between(answers, ask(way, now, clock, days, "after"))

    store, ledger = settings.store_path, settings.ledger_path
    yield Observation("rows that changed when an old ledger was put back", put_back(ledger), 0)
    under = put_back(ledger, live=True)
    yield Observation("rows that changed when an old ledger was put back under a running service", under, 0)
    yield Observation("rows that changed when an old store was put back", put_back(store), 0)
    what = "rows that changed when both were put back from one old copy, of which nothing is claimed"
    yield Observation(what, put_back(store, ledger))
    # The old copy goes on by itself, and then its ledger has as many days and charges as the store knows of.
    ask(opened, _moved(settings, copy), clock, days, "after")
    what = "rows that changed with the ledger of a copy that went on by itself, of which nothing is claimed"
    yield Observation(what, put_back(ledger))
    other = msgspec.structs.replace(settings, ledger=str(folder / "other.ledger"))
    make_budget(other, clock)
    again = ask(opened, other, clock, days, "after")
    yield Observation("rows that changed when the store was given a new ledger", changes_between(answers, again), 0)


def _copied(folder: Path, setting: Setting) -> Path:
    # Nobody has the files open, so that all is in them and nothing in a log beside them.
    return Path(shutil.copytree(folder, setting.new_folder(), dirs_exist_ok=True))


def _moved(settings: Settings, folder: Path) -> Settings:
    return msgspec.structs.replace(
        settings, store=str(folder / settings.store_path.name), ledger=str(folder / settings.ledger_path.name)
    )


class _Kill(Exception):  # noqa: N818 - the name says what happened
    """What a process was doing ends here."""


class CutOff(Store):
    """Is killed when the ledger holds a day more than the old copy, before the store has noted it."""

    def note_published(self, days: int) -> None:
        """Note no day beyond those of the old copy."""
        if days > BACKED_UP:
            raise _Kill
        super().note_published(days)


def crash(setting: Setting) -> Observation:
    """Read the ledger's rows just before the service is killed, and put an old ledger back before it starts again."""
    days, clock = days_of(setting), FixedClock(now_of(setting))
    settings = settings_of(setting)
    ask(open_service, settings, clock, days[:BACKED_UP])
    copy = _copied(settings.store_path.parent, setting)
    day = days[BACKED_UP]
    with open_with(settings, clock, store=CutOff) as service:
        with suppress(_Kill):
            service.close(day)
        answers: Answers = {(metric, str(day)): {service.releases(metric)[-1]} for metric in settings.series}
    shutil.copy(copy / settings.ledger_path.name, settings.ledger_path)
    again = ask(open_service, settings, clock, [day])
    what = "rows that changed with an old ledger after a crash between its commit and the store's note"
    return Observation(f"{what}, of which nothing is claimed", changes_between(answers, again))
