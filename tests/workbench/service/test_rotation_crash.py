"""Real processes, really killed, while they give a store a new key; also the script of these processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.oracles.scenarios import forked, run_scenario, wait
from tests.oracles.service_model import add, clock, day
from tests.workbench.service.test_crash import (
    METRICS,
    check_what_is_left,
    dies,
    dies_at_call,
    go_on_once,
    kill_at_random,
    note_arrivals,
    prepare,
    settings_of,
    violations,
)
from workbench.service import key_rotation, open_service
from workbench.service.key_file import PSEUDONYM_KEY_BYTES
from workbench.service.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("database")]


def rotate(folder: Path) -> None:
    settings = settings_of(folder)
    key_rotation.rotate_key(settings.store_place, settings.key_path)


def rotate_and_go_on(folder: Path, opened: int, worker: int, workers: int) -> None:
    """Take in two batches, close a day, give the store a new key, and so on for ever."""
    note_arrivals(folder)
    while True:
        with open_service(settings_of(folder), clock) as service:
            go_on_once(folder, service, worker, workers)
        # Most kills fall into what comes now.
        with suppress(OSError):
            os.write(opened, b"!")
        rotate(folder)


POINTS: dict[str, Callable[[], None]] = {
    "no key yet": lambda: dies(key_rotation, "new_key", after=False),
    "the key lies beside": lambda: dies(key_rotation, "new_key", after=True),
    "some names are new": lambda: dies_at_call(key_rotation, "renamed", 1),
    "all names are new, not committed": lambda: dies(key_rotation, "hide_again", after=True),
    "committed": lambda: dies(key_rotation, "adopt_key", after=False),
    "the key is in its place": lambda: dies(key_rotation, "adopt_key", after=True),
    "not wiped": lambda: dies(Store, "wipe", after=False),
}
ROTATED = {"committed", "the key is in its place", "not wiped"}


def rotate_and_die(folder: Path, arm: Callable[[], None]) -> None:
    arm()
    rotate(folder)


def kill_at_points(root: Path) -> None:
    for before in (0, 1):
        for point, arm in POINTS.items():
            folder = root / f"{point}, {before} before"
            prepare(folder, 2)
            for _ in range(before):
                rotate(folder)
            assert wait(forked(lambda: rotate_and_die(folder, arm))) == signal.SIGKILL  # noqa: B023


SCENARIOS: dict[str, Callable[[Path], None]] = {
    "random": lambda root: kill_at_random(root, rotate_and_go_on, most=1),
    "points": kill_at_points,
}


@pytest.mark.files_only
def test_kill_between_the_steps_of_a_rotation(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_rotation_crash", "points", tmp_path)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 2 * len(POINTS)
    for folder in folders:
        settings = settings_of(folder)
        point, before = folder.name.removesuffix(" before").rsplit(", ", 1)
        assert violations(folder, 2, charges=3) == [], folder.name
        keys = int(before) + 1 + (point in ROTATED)
        assert settings.key_path.stat().st_size == PSEUDONYM_KEY_BYTES * keys, folder.name
        with open_service(settings, clock) as service:
            assert [count.truth for count in service.truth("mau").counts] == [2, 2]
            service.ingest([add("ann", 2), add("cyd", 2)])
            service.erase("bob")
            assert service.preview(day(2))["mau"].truth == 2
        rotate(folder)
        assert settings.key_path.stat().st_size == PSEUDONYM_KEY_BYTES * (keys + 1)
        assert violations(folder, 3, charges=3) == []
        with open_service(settings, clock) as service:
            assert {metric: service.truth(metric).counts[-1].truth for metric in METRICS} == dict.fromkeys(METRICS, 2)


def test_kill_rotations_at_random_instants(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_rotation_crash", "random", tmp_path)
    folder = tmp_path / "killed"
    assert settings_of(folder).key_path.stat().st_size > 5 * PSEUDONYM_KEY_BYTES
    check_what_is_left(folder)


if __name__ == "__main__":
    from dp.noise import GaussianNoise

    GaussianNoise(5).secure(1)
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
