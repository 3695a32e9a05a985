"""Whose key came along with a call, over HTTP or gRPC; wrong keys are counted and limited."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from workbench.api.failure_limit import FailureLimit
from workbench.api.problems import Problem
from workbench.service.keyring import ALL_SCOPES, Caller, Keyring
from workbench.service.keys import KeyFileError, session_token

HERE = Caller("this machine", ALL_SCOPES)
"""Whoever calls from this machine while there is no key."""


def _unauthorized(kind: str, title: str) -> Problem:
    detail = "Send a key of this service as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; browsers log in at /login."
    return Problem(kind, HTTPStatus.UNAUTHORIZED, title, detail)


WRONG = _unauthorized("key-missing", "The API key is missing or wrong")
EXPIRED = _unauthorized("key-expired", "The API key has expired")
UNUSABLE_FILE = Problem(
    "keys-unusable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The file of keys cannot be used",
    "The service cannot use its file of keys. The operator finds the fault with 'dpdau keys list'.",
    wait=10,
)
OTHER_SITE = Problem(
    "other-site",
    HTTPStatus.FORBIDDEN,
    "The call comes from another site",
    "A service without a key answers programs of this machine, by a loopback address or as localhost, and its own "
    "pages. To let others in, make a key with 'dpdau keys create', or set SERVICE_API_KEY.",
)


@dataclass(frozen=True)
class Admission:
    """Looks at keys. Those that nobody can guess are looked at always, so that a guesser stops nobody who uses one."""

    keyring: Keyring
    limit: FailureLimit

    def authenticate(self, address: str, tokens: Sequence[str]) -> Caller | Problem:
        """Whose key it is of which one of these session tokens was made, or how the call is refused.

        Args:
            address: where the call comes from.
        """
        if not tokens:
            return WRONG
        wait = self.limit.wait(address)
        refused = WRONG
        try:
            found = [self.keyring.find(token, made_only=wait > 0) for token in tokens]
        except KeyFileError:
            found, refused = [None] * len(tokens), UNUSABLE_FILE
        for _ in range(0 if wait else found.count(None)):
            self.limit.note_failure(address)
        callers = [caller for caller in found if caller is not None]
        if not callers:
            return _blocked(wait) if wait else refused
        if callers[0].guessable:
            self.limit.note_right(address)
        return EXPIRED if callers[0].expired else callers[0]


def tokens_of(headers: Mapping[str, str]) -> list[str]:
    """The session tokens of the keys that headers, or the metadata of gRPC, carry."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = [bearer if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    # They arrive as bytes, which are read as Latin-1.
    return [session_token(key.encode("latin-1")) for key in given if key]


def lacking(needs: frozenset[str], caller: Caller) -> Problem:
    """A call that needs scopes of which its caller lacks one."""
    wanted, lacks = sorted(needs), sorted(needs - caller.scopes)
    detail = f"This call needs a key with the scope {' and '.join(wanted)}; this one lacks {' and '.join(lacks)}."
    return Problem("scope-missing", HTTPStatus.FORBIDDEN, "The API key lacks a scope", detail, {"needed": wanted})


def _blocked(wait: float) -> Problem:
    detail = "Too many wrong keys came from this address, or from all together. Keys made by 'dpdau keys' are served."
    return Problem(
        "too-many-failures", HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong keys", detail, wait=math.ceil(wait)
    )
