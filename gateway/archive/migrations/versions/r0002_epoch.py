"""The number by which cursors of the feed are those of one database."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    epoch = sa.text("INSERT INTO counters VALUES ('epoch', :number)")
    op.execute(epoch.bindparams(number=secrets.randbelow(2**53)))


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM counters WHERE name = 'epoch'"))
