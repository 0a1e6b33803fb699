"""How far each webhook is, and the changes that it did not take yet."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("last_success_at", sa.BigInteger),
        sa.Column("last_error_at", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.Column("off_at", sa.BigInteger),
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "change",
            NUMBER,
            sa.ForeignKey("changes.no", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("webhook", sa.Text, primary_key=True),
        sa.Column("record", NUMBER, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("given_up_at", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    of_webhook = ["account", "webhook"]
    op.create_index("deliveries_by_next_at", "deliveries", [*of_webhook, "next_at"])
    op.create_index("deliveries_by_record", "deliveries", [*of_webhook, "record", "change"])


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("webhooks")
