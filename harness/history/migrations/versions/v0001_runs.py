"""The first tables: runs, cases, metrics, and what was measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "harness_run",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("commit", sa.Text, nullable=False),
        sa.Column("dirty", sa.Boolean, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_harness_run"),
        sa.UniqueConstraint("key", name="uq_harness_run_key"),
    )
    op.create_index("ix_harness_run_started", "harness_run", ["started"])
    op.create_table(
        "harness_case",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("case_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_harness_case"),
        sa.UniqueConstraint("suite", "case_id", name="uq_harness_case_suite_case_id"),
    )
    op.create_table(
        "harness_metric",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("better", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_harness_metric"),
        sa.UniqueConstraint("name", "unit", "better", name="uq_harness_metric_name_unit_better"),
    )
    op.create_table(
        "harness_result",
        *_of("harness_result", run_id="harness_run", case_id="harness_case"),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
    )
    op.create_table(
        "harness_measurement",
        *_of("harness_measurement", run_id="harness_run", case_id="harness_case", metric_id="harness_metric"),
        sa.Column("point", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("launches", sa.Integer, nullable=False),
        sa.Column("relative", sa.Double, nullable=True),
        sa.Column("question", sa.String(8), nullable=False),
    )
    op.create_index("ix_harness_measurement_case_id_metric_id", "harness_measurement", ["case_id", "metric_id"])


def downgrade() -> None:
    """Drop them, with all that they hold."""
    for table in ("harness_measurement", "harness_result", "harness_metric", "harness_case", "harness_run"):
        op.drop_table(table)


def _of(table: str, **parents: str) -> list[sa.schema.SchemaItem]:
    """Columns that name rows of other tables and go with them; together they are the key."""
    return [
        *(sa.Column(name, sa.Integer, nullable=False) for name in parents),
        *(
            sa.ForeignKeyConstraint([name], [f"{parent}.id"], name=f"fk_{table}_{name}", ondelete="CASCADE")
            for name, parent in parents.items()
        ),
        sa.PrimaryKeyConstraint(*parents, name=f"pk_{table}"),
    ]
