"""Whether a path still leads to the file that it led to at first, and a URL to what it led to."""

from __future__ import annotations

from dp.database_url import DatabaseUrl, Place
from workbench.service.errors import Refused


class SameFile:
    """A file that may be made later, and once it is there must stay where it is."""

    def __init__(self, path: Place, name: str) -> None:
        self._path = path
        self._name = name
        self._first: tuple[int, int] | None = None
        self._held: str | None = None

    def check(self) -> None:
        """Refuse to go on with another file than the one that was there first.

        Raises:
            Refused: the file was moved, removed or replaced.
        """
        now = self._identity()
        if self._first is None:
            self._first = now
        elif now != self._first:
            raise self._refusal()

    @property
    def is_known(self) -> bool:
        """Whether it was there."""
        return self._first is not None or self._held is not None

    def check_held(self, name: str | None) -> None:
        """Refuse to go on with another database than the one that was there first.

        Args:
            name: of what the place holds; None for nothing.

        Raises:
            Refused: it held something else before.
        """
        if self._held is None:
            self._held = name
        elif name != self._held:
            raise self._refusal()

    def _refusal(self) -> Refused:
        return Refused(
            "unavailable",
            f"the {self._name} {self._path} was moved, removed or replaced while the service runs; put it back, or "
            "start the service anew",
        )

    def _identity(self) -> tuple[int, int] | None:
        if isinstance(self._path, DatabaseUrl):
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
