"""Whose key a call carries: the keys of the file, which may change at any time, and the one of SERVICE_API_KEY."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from workbench.service.keys import SCOPES, KeyFileError, ServiceKey, read_keys, session_token, token_hash

API_KEY = "SERVICE_API_KEY"
ALL_SCOPES = frozenset[str](SCOPES)

Stamp = tuple[int, ...]
"""What changes when a file is replaced or changed."""


@dataclass(frozen=True)
class Caller:
    """Whoever calls.

    Attributes:
        name: of the key; for logs.
        scopes: what the key opens.
        expired: whether its days are over.
        guessable: whether a person has chosen the key, so that guessing it is not hopeless.
    """

    name: str
    scopes: Set[str]
    expired: bool = False
    guessable: bool = False


@dataclass(frozen=True)
class _Loaded:
    stamp: Stamp | None
    keys: Mapping[str, ServiceKey]
    fault: str | None = None


class Keyring:
    """The keys that are in force at this moment: the file is read anew as soon as it has changed.

    A file that cannot be used opens nothing, and a service that once had a file of keys stays guarded when it goes.

    Args:
        path: the file of keys; there may be none.
        api_key: the key of all scopes, from SERVICE_API_KEY; None for none.
        today: the calendar day in the service's time zone.

    Raises:
        KeyFileError: the file cannot be used.
    """

    def __init__(self, path: Path, api_key: str | None, today: Callable[[], date]) -> None:
        self._path = path
        self._api_key = token_hash(session_token(api_key.encode())) if api_key else None
        self._today = today
        self._loaded = _read(path)
        self._guarded = False
        if self._loaded.fault is not None:
            raise KeyFileError(self._loaded.fault)

    @property
    def guarded(self) -> bool:
        """Whether callers need a key: there is one of all scopes, or there is or was a file of keys."""
        self._guarded = self._guarded or self._api_key is not None or self._current().stamp is not None
        return self._guarded

    def find(self, token: str, *, made_only: bool = False) -> Caller | None:
        """Whose session token this is; None for nobody's. It takes the same time for all wrong ones.

        Args:
            made_only: whether only keys of the file are looked at, which nobody can guess.

        Raises:
            KeyFileError: the file cannot be used, and the token is not the key's of all scopes.
        """
        given = token_hash(token)
        if self._api_key is not None and not made_only and hmac.compare_digest(given, self._api_key):
            return Caller(API_KEY, ALL_SCOPES, guessable=True)
        loaded = self._current()
        if loaded.fault is not None:
            raise KeyFileError(loaded.fault)
        found = [pair for pair in loaded.keys.items() if hmac.compare_digest(given, pair[1].sha256)]
        if not found:
            return None
        name, key = found[0]
        expired = key.expires is not None and key.expires <= self._today()
        return Caller(name, key.scopes, expired)

    def _current(self) -> _Loaded:
        if _stamp(self._path) != self._loaded.stamp:
            self._loaded = _read(self._path)
        return self._loaded


def _read(path: Path) -> _Loaded:
    # Before the content: a file that changes in between is read once more.
    stamp = _stamp(path)
    if stamp is None:
        return _Loaded(None, {})
    try:
        return _Loaded(stamp, read_keys(path))
    except (OSError, ValueError) as error:
        return _Loaded(stamp, {}, str(error))


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - for every call, and a path's own method takes three times as long
    except FileNotFoundError:
        return None
    except OSError:
        # It is there, and reading it will say what is wrong.
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
