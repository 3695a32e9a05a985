"""Attributes of users, from a table of users beside the log."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Attributes:
    """What is known of users whatever they do, such as the country at sign-up.

    Attributes:
        table: a row for each user: `user` and a column of text for each attribute, null where it is not known.
    """

    table: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the attributes."""
        return tuple(name for name in self.table.column_names if name != "user")
