"""Version 2: operations as packed batches, and users as packed parts; what is counted leaves the log."""

from __future__ import annotations

from alembic import op

from workbench.service.migrations.packing_rows import pack_rows

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Pack what a store of version 1 holds."""
    pack_rows(op.get_bind())
