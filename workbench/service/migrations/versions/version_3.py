"""Version 3: what operations say of segments, answers to questions, and flips by segment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from workbench.service.tables import answers, batches, label_codes, parts

revision = "3"
down_revision = "2"

NEW_COLUMNS = ((batches, batches.c.labels), (parts, parts.c.labelled), (parts, parts.c.flips))


def upgrade() -> None:
    """Add them, empty. A store that was of version 1 a moment ago was made with them."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    for table, column in NEW_COLUMNS:
        if column.name not in {found["name"] for found in inspector.get_columns(table.name)}:
            op.add_column(table.name, sa.Column(column.name, column.type, comment=column.comment))
    for table in (answers, label_codes):
        table.create(connection, checkfirst=True)
