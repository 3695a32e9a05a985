"""Where something lies: in a file, or in a PostgreSQL database that a URL names; and how a URL is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

URL = re.compile(r"postgresql(\+psycopg)?://(?P<user>[^:@/?#]*)(?P<password>:[^@/?#]*)?(?P<at>@)?(?P<rest>[^@]*)")
SHOWN = {"host", "hostaddr", "port", "user", "dbname", "options", "service", "sslmode", "sslrootcert"}
"""Parameters of a URL that hold no secret."""


@dataclass(frozen=True)
class DatabaseUrl:
    """A PostgreSQL database. As text it has no password, so that it may be shown.

    Attributes:
        secret: the URL as it was given.
    """

    secret: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> DatabaseUrl:
        """The database that a URL such as postgresql+psycopg://user@host/database names.

        Raises:
            ValueError: it names none; the message does not repeat it.
        """
        found = URL.fullmatch(text)
        if found is None or (found["password"] and not found["at"] and not re.match(r":\d*$", found["password"])):
            raise ValueError(
                "the URL is not like postgresql+psycopg://user@host/database; in a user or a password, write @ as %40, "
                "/ as %2F, : as %3A, ? as %3F and # as %23"
            )
        return cls(text)

    @property
    def conninfo(self) -> str:
        """The URL as the driver takes it."""
        return "postgresql://" + self.secret.partition("://")[2]

    def __str__(self) -> str:
        """The URL without its secrets."""
        found = URL.fullmatch(self.secret)
        assert found is not None
        user, rest = found["user"] + (found["at"] or found["password"] or ""), found["rest"]
        address, _, query = rest.partition("?")
        shown = [part for part in query.split("&") if part.partition("=")[0] in SHOWN]
        return f"postgresql+psycopg://{user}{address}{'?' * bool(shown)}{'&'.join(shown)}"


Place = Path | DatabaseUrl
"""Where a store or a ledger lies."""


def place_of(given: str | Place) -> Place:
    """The place that a text names: whatever holds :// is a URL.

    Raises:
        ValueError: it is a URL, and not one of a PostgreSQL database.
    """
    if not isinstance(given, str):
        return given
    return DatabaseUrl.of(given) if "://" in given else Path(given)
