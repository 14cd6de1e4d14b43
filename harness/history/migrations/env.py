"""Run by alembic, with the connection that `harness.history.connecting` gives it, in the transaction that is open."""

from __future__ import annotations

from alembic import context

from harness.history.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
