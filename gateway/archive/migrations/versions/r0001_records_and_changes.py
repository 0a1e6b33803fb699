"""Records, changes, names, counters, tallies."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
HAS_ERROR = sa.text("error IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("no", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.Integer),
        sa.Column("operator", sa.Integer),
        sa.Column("country", sa.Integer),
        sa.Column("sender", sa.Integer),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("last_status_at", sa.BigInteger, nullable=False),
        sa.Column("first_seen_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.SmallInteger, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
    )
    op.create_index("records_by_key", "records", ["account", "phone", "id"], unique=True)
    op.create_index("records_by_first_seen_at", "records", ["account", "first_seen_at"])
    op.create_index("records_by_changed_at", "records", ["account", "changed_at", "no", "sent_at"])
    op.create_index("records_by_sent_at", "records", ["account", "sent_at", "no", "changed_at"])
    for column in ("phone", "id", "state", "operator", "sender", "error"):
        some: dict[str, Any] = {}
        if column == "error":
            some = {"sqlite_where": HAS_ERROR, "postgresql_where": HAS_ERROR}
        for order in (["changed_at"], ["sent_at", "no"]):
            op.create_index(
                f"records_by_{column}_{order[0]}", "records", ["account", column, *order], **some
            )
    op.create_table(
        "changes",
        sa.Column("no", NUMBER, primary_key=True, autoincrement=False),
        sa.Column(
            "record", NUMBER, sa.ForeignKey("records.no", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("status_text", sa.Integer),
        sa.Column("provider_error", sa.Integer),
        sa.Column("source", sa.SmallInteger, nullable=False),
        sa.Column("last_status_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_changes_record", "changes", ["record"])
    op.create_table(
        "names",
        sa.Column("no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tallies",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("dimension", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "50"},
    )


def downgrade() -> None:
    for table in ("tallies", "counters", "names", "changes", "records"):
        op.drop_table(table)
