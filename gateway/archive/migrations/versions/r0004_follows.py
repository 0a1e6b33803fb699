"""What callers have the gateway keep asking for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "follows",
        sa.Column("no", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("token", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("until_at", sa.BigInteger, nullable=False),
        sa.Column("until_state", sa.Text),
        sa.Column("detail", sa.SmallInteger, nullable=False),
        sa.Column("done_at", sa.BigInteger),
    )
    op.create_table(
        "followed",
        sa.Column(
            "follow",
            NUMBER,
            sa.ForeignKey("follows.no", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("state", sa.SmallInteger),
    )
    op.create_index("follows_by_owner", "follows", ["account", "owner", "token"])
    op.create_index("followed_by_key", "followed", ["phone", "id"])
    op.create_index("followed_by_outcome", "followed", ["follow", "outcome", "state"])


def downgrade() -> None:
    op.drop_table("followed")
    op.drop_table("follows")
