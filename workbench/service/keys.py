"""Keys of callers: a file of hashes with names, scopes and days. A key itself is shown once and kept nowhere.

A key is 256 random bits, so one SHA-256 hides it: slow hashes are for secrets that can be guessed, and this one cannot.
What is hashed is not the key but its session token, which a browser keeps in place of the key. One hash then tells
both, and the file opens nothing: neither the key nor the token can be computed from it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from dp.private_files import locked, new_private, read_private

ScopeName = Literal["ingest", "read", "operate", "metrics"]
SCOPES: tuple[ScopeName, ...] = get_args(ScopeName)
INGEST, READ, OPERATE, METRICS = SCOPES

PREFIX = "dpdau_"
SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HEADING = "# Made by 'dpdau keys'. It holds hashes: no key can be computed from them.\n"


class KeyFileError(ValueError):
    """A file of keys that cannot be used; the message names the file and the fault."""


class ServiceKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept of a key.

    Attributes:
        sha256: of its session token, as `token_hash` returns it.
        scopes: what it opens; at least one of `SCOPES`.
        made: the day of its making.
        expires: the first day on which it opens nothing any more, in the service's time zone; None for no end.
    """

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[ScopeName], msgspec.Meta(min_length=1)]
    made: date
    expires: date | None = None


def session_token(key: bytes) -> str:
    """What stands for a key in a browser's cookie: 64 hexadecimal digits, from which the key cannot be computed."""
    return hmac.digest(key, b"dpdau session", "sha256").hex()


def token_hash(token: str) -> str:
    """The SHA-256 of a session token: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_keys(path: Path) -> dict[str, ServiceKey]:
    """Name → key, in the order of the file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        KeyFileError: others may read it, or something in it is not a key.
    """
    try:
        content = tomllib.loads(read_private(path, "hashes of the keys"))
    except tomllib.TOMLDecodeError as error:
        raise KeyFileError(f"the file of keys {path} is not TOML, or names something twice: {error}") from error
    except ValueError as error:
        raise KeyFileError(str(error)) from error
    keys = {name: _key(path, name, table) for name, table in content.items()}
    owners: dict[str, str] = {}
    for name, key in keys.items():
        if (first := owners.setdefault(key.sha256, name)) != name:
            raise KeyFileError(f"{path}: {first!r} and {name!r} are one key; remove one of them")
    return keys


def create_key(
    path: Path,
    name: str,
    scopes: Collection[ScopeName],
    *,
    made: date,
    expires: date | None,
    random: Callable[[int], bytes],
) -> str:
    """Add a key to the file, which is made where there is none; returns the key, which is kept nowhere.

    Args:
        made: today in the service's time zone.
        expires: the first day on which it opens nothing any more; None for no end.
        random: from a number to that many secret random bytes, for instance `secrets.token_bytes`.

    Raises:
        OSError: the file cannot be read or replaced.
        ValueError: the name is taken or not plain, there is no scope, or the key would open nothing from the start.
        KeyFileError: see `read_keys`.
    """
    _check_name(name)
    if not scopes:
        raise ValueError(f"scopes are empty; give at least one of {', '.join(SCOPES)}")
    if expires is not None and expires <= made:
        raise ValueError(f"expires is {expires}, and today is {made}: give a later day, or none for a key without end")
    secret = PREFIX + random(SECRET_BYTES).hex()
    kept = ServiceKey(
        sha256=token_hash(session_token(secret.encode())), scopes=frozenset(scopes), made=made, expires=expires
    )
    with _changing(path) as keys:
        if name in keys:
            raise ValueError(f"name is {name!r}, which {path} holds already; revoke that key first, or choose another")
        keys[name] = kept
    return secret


def revoke_key(path: Path, name: str) -> int:
    """Remove a key from the file; returns how many are left.

    Raises:
        OSError: there is no such file, or it cannot be read or replaced.
        ValueError: there is no such key.
        KeyFileError: see `read_keys`.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file of keys {path}, so there is nothing to revoke")
    with _changing(path) as keys:
        if name not in keys:
            raise ValueError(f"name is {name!r}, but {path} holds {', '.join(keys) or 'no key'}")
        del keys[name]
    return len(keys)


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, ServiceKey]]:
    """The keys, written back in one step when the block ends; a second process waits for the first."""
    target = path.resolve()
    with locked(target.parent):
        keys = read_keys(target) if target.exists() else {}
        yield keys
        with new_private(target, keys_text(keys)) as made:
            made.replace(target)


def keys_text(keys: Mapping[str, ServiceKey]) -> str:
    """Keys as TOML that `read_keys` reads."""
    return _HEADING + "".join(f"\n[{name}]\n{_table(key)}" for name, key in keys.items())


def _table(key: ServiceKey) -> str:
    # JSON spells texts and lists of texts as TOML does.
    scopes = msgspec.json.encode([scope for scope in SCOPES if scope in key.scopes]).decode()
    end = f"expires = {key.expires}\n" if key.expires else ""
    return f'sha256 = "{key.sha256}"\nscopes = {scopes}\nmade = {key.made}\n{end}'


def _key(path: Path, name: str, table: Any) -> ServiceKey:
    try:
        _check_name(name)
        return msgspec.convert(table, ServiceKey)
    except (ValueError, msgspec.ValidationError) as error:
        raise KeyFileError(f"{path}, key {name!r}: {error}") from None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}; give 1 to 64 letters, digits, - or _, the first a letter or a digit")
