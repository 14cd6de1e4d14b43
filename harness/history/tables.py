"""The tables of the history store. A change here needs a migration beside the others; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["VERSION_TABLE", "cases", "measurements", "metadata", "metrics", "results", "runs"]

VERSION_TABLE = "harness_version"
"""Where alembic keeps which migrations were made. All names begin alike: the database may hold other tables."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

runs = sa.Table(
    "harness_run",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(32), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("started", sa.Text, nullable=False, index=True),
    sa.Column("commit", sa.Text, nullable=False),
    sa.Column("dirty", sa.Boolean, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
)

cases = sa.Table(
    "harness_case",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.UniqueConstraint("suite", "case_id"),
)

metrics = sa.Table(
    "harness_metric",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("better", sa.Text, nullable=False),
    sa.UniqueConstraint("name", "unit", "better"),
)


def _of(table: sa.Table, name: str) -> sa.Column[int]:
    """A column that names a row of another table and goes with it."""
    return sa.Column(name, sa.Integer, sa.ForeignKey(table.c.id, ondelete="CASCADE"), primary_key=True)


results = sa.Table(
    "harness_result",
    metadata,
    _of(runs, "run_id"),
    _of(cases, "case_id"),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
)

measurements = sa.Table(
    "harness_measurement",
    metadata,
    _of(runs, "run_id"),
    _of(cases, "case_id"),
    _of(metrics, "metric_id"),
    sa.Column("point", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
    sa.Column("launches", sa.Integer, nullable=False),
    sa.Column("relative", sa.Double, nullable=True),
    sa.Column("question", sa.String(8), nullable=False),
    sa.Index("ix_harness_measurement_case_id_metric_id", "case_id", "metric_id"),
)
