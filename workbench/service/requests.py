"""Requests under a key: repeated, they are answered as the first time, and nothing is stored again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from dp.presence.daily import day_number
from workbench.service.errors import Refused
from workbench.service.operations import Ingested, Operation
from workbench.service.store import Store
from workbench.service.tables import requests as requests_kept

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
KEPT_DAYS = 2
"""An answer is kept on its day and this many more: for at least 48 hours, which outlasts retries."""


@dataclass(frozen=True)
class RequestKey:
    """What tells a request from others.

    Attributes:
        key: the caller's own name of the request.
        digest: of everything that was sent; another one under the same key is another request.
        members: of the answer, besides what became of the operations.
    """

    key: str
    digest: str
    members: Mapping[str, Any] = field(default_factory=dict)


def request_key(given: str, asked: Sequence[str], body: bytes) -> RequestKey:
    """The key of a request, as a plain word or as a string in quotes.

    Args:
        asked: what else the request says besides its body.

    Raises:
        Refused: it is no plain word.
    """
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not REQUEST_ID.fullmatch(key):
        raise Refused("bad-request", "nothing was stored: an Idempotency-Key has 1 to 64 letters, digits or . _ : -")
    return RequestKey(key, sha256("\n".join(asked).encode() + b"\0" + body).hexdigest())


RequestKeys = Sequence[RequestKey | None]
Stored = Ingested | bytes | Refused
"""What became of a batch, or the answer that its request was given before, or why there is none."""


class RequestTable:
    """The requests of the last days, read and written in the transaction that stores their operations."""

    def __init__(self, connection: Connection, today: int) -> None:
        self._run = connection.execute
        self._today = today

    def find(self, key: str) -> tuple[bytes, bytes] | None:
        """The digest and the answer of a request."""
        kept = requests_kept.c
        query = select(kept.digest, kept.answer).where(kept.key == key, kept.day >= self._today - KEPT_DAYS)
        row = self._run(query).one_or_none()
        return None if row is None else (row.digest, row.answer)

    def forget(self) -> None:
        """Forget requests that are too old."""
        self._run(requests_kept.delete().where(requests_kept.c.day < self._today - KEPT_DAYS))

    def keep(self, key: str, digest: bytes, answer: bytes) -> None:
        """Remember the answer of a request, and forget those that are too old."""
        self.forget()
        self._run(requests_kept.insert().values(key=key, digest=digest, day=self._today, answer=answer))


@dataclass(frozen=True)
class IngestResult:
    """What became of a request.

    Attributes:
        members: of the answer, besides what became of the operations.
        repeated: whether it was stored before, and is answered as the first time.
    """

    ingested: Ingested
    members: Mapping[str, Any]
    repeated: bool = False

    def answer(self, *, seq: bool) -> bytes:
        """What a caller is told, as JSON; `seq` says whether that is how many operations of all have arrived."""
        if seq and not self.members:
            return msgspec.json.encode(self.ingested)
        told = msgspec.to_builtins(self.ingested)
        if not seq:
            del told["seq"]
        return msgspec.json.encode({**told, **self.members})


def answer_of(ingested: Ingested, members: Mapping[str, Any]) -> bytes:
    """What is kept of an outcome: all of the answer, as JSON."""
    return IngestResult(ingested, members).answer(seq=True)


def remembered(answer: bytes) -> IngestResult:
    """The outcome of which `answer_of` was kept."""
    members = msgspec.json.decode(answer)
    ingested = Ingested(*(members.pop(field.name) for field in fields(Ingested)))
    return IngestResult(ingested, members, repeated=True)


def append_once(
    store: Store, batches: Sequence[Sequence[Operation]], requests: RequestKeys, earliest: int | None,
    today: Callable[[], date],
) -> list[Stored]:  # fmt: skip
    """Store the batches whose requests are not remembered, in one go, and remember them.

    Args:
        requests: one a batch; none at all where none has a key.
        earliest: as in `Store.append_all`.
        today: asked where a request has a key.
    """
    if not any(requests):
        return list(store.append_all(batches, earliest))
    remembered = RequestTable(store.connection, day_number(today()))
    named = [_named(store, request) if request else None for request in requests]
    first = {one.name: place for place, one in reversed(list(enumerate(named))) if one}
    new = [
        place
        for place, one in enumerate(named)
        if one is None or (first[one.name] == place and remembered.find(one.name) is None)
    ]
    outcomes: dict[int, Stored] = {}
    for place, ingested in zip(new, store.append_all([batches[place] for place in new], earliest), strict=True):
        outcomes[place] = ingested
        if one := named[place]:
            remembered.keep(one.name, one.digest, answer_of(ingested, one.members))
    for place, one in enumerate(named):
        if one and place not in outcomes:
            outcomes[place] = _earlier(remembered, one)
    return [outcomes[place] for place in range(len(batches))]


class _Named(NamedTuple):
    name: str
    digest: bytes
    members: Mapping[str, Any]


def _named(store: Store, request: RequestKey) -> _Named:
    """A request as it is kept. A caller may use ids as keys, and one event can be guessed from its digest: so neither
    stays readable. No id has a NUL, so that none is confused with a user.
    """
    name, digest = store.hide(f"\0key {request.key}"), store.hide(f"\0digest {request.digest}")
    return _Named(name.hex(), digest, request.members)


def _earlier(remembered: RequestTable, request: _Named) -> bytes | Refused:
    found = remembered.find(request.name)
    assert found is not None, "what is not stored now was stored before"
    digest, answer = found
    if digest == request.digest:
        return answer
    return Refused(
        "key-reused", "nothing was stored: this Idempotency-Key was sent before with something else; take a new one"
    )
