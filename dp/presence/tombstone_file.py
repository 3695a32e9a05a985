"""Tombstones in a file of their own, which is as secret as the log: pseudonyms, their key, and flips."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from dp.log import Log, arrived_fingerprint
from dp.presence.tombstones import Tombstones


class Compaction(NamedTuple):
    """What compactions of a log left behind.

    Attributes:
        tombstones: the flips of users who left it.
        key: of their pseudonyms.
        log: `dp.log.arrived_fingerprint` of the smaller log as of `tombstones.through`.
    """

    tombstones: Tombstones
    key: bytes
    log: str

    def validate(self, log: Log) -> None:
        """Refuse another log than the one that was left, which may have grown.

        Raises:
            ValueError: it is another one.
        """
        if arrived_fingerprint(log, self.tombstones.through) != self.log:
            raise ValueError("these tombstones belong to another log, or to what this one was before 'dpdau compact'")

    @property
    def name(self) -> str:
        """Names the content: whoever counts without it, or with another, is told apart."""
        return hashlib.sha256(_text(self).encode()).hexdigest()[:32]


def left_behind(compaction: Compaction | None) -> tuple[Tombstones | None, bytes | None]:
    """Tombstones and their key, as an engine takes them; None for a log that was never compacted."""
    return (None, None) if compaction is None else (compaction.tombstones, compaction.key)


def past_name(log: Log, through: date, compaction: Compaction | None, segments: Sequence[str] = ()) -> str:
    """Names the operations that had arrived by the end of a day, and the tombstones of those that are gone.

    Args:
        segments: as of `arrived_fingerprint`.
    """
    name = arrived_fingerprint(log, through, segments)
    return name if compaction is None else hashlib.sha256(f"{name} {compaction.name}".encode()).hexdigest()[:32]


def write_compaction(compaction: Compaction, path: Path) -> None:
    """Write a new file of mode 0600.

    Raises:
        FileExistsError: there is one; it may be all that is left of a user's flips.
    """
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(_text(compaction))
        file.flush()
        os.fsync(file.fileno())


def read_compaction(path: Path) -> Compaction:
    """The content of a file that `write_compaction` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        spent = {content["first"]: content["spent"]} if "first" in content else content["spent"]
        by_first = {
            date.fromisoformat(first): {
                int(window): {bytes.fromhex(name): int(flips) for name, flips in names.items()}
                for window, names in windows.items()
            }
            for first, windows in spent.items()
        }
        tombstones = Tombstones(date.fromisoformat(content["through"]), by_first)
        return Compaction(tombstones, bytes.fromhex(content["key"]), str(content["log"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of tombstones, which 'dpdau compact' writes: {error}") from None


def _text(compaction: Compaction) -> str:
    tombstones, key, log = compaction
    spent = {
        first.isoformat(): {
            str(window): {name.hex(): flips for name, flips in sorted(names.items())}
            for window, names in sorted(windows.items())
        }
        for first, windows in sorted(tombstones.spent.items())
    }
    content = {"through": tombstones.through.isoformat(), "key": key.hex(), "log": log}
    if len(spent) == 1:
        # One first day stands by itself, as in files from before there could be several: they keep their names.
        ((first, windows),) = spent.items()
        return json.dumps({"first": first, **content, "spent": windows}, indent=1)
    return json.dumps({**content, "spent": spent}, indent=1)
