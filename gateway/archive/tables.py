"""The archive's tables, for SQLite and PostgreSQL alike; `migrations` brings a database to them.

Times are whole seconds since 1970, as callers see them; 0 where the provider told none, so that an
index orders such rows as well. Words that repeat a million times (operators, countries, senders,
error codes, the provider's words for a status) are numbers of the table `names`.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A row's number. In SQLite an `INTEGER` key is the row's own number and takes no space."""

RECORDS: Final = Table(
    "records",
    METADATA,
    Column("no", _NUMBER, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("error", Integer),
    Column("operator", Integer),
    Column("country", Integer),
    Column("sender", Integer),
    Column("changed_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("last_status_at", BigInteger, nullable=False),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("source", SmallInteger, nullable=False),
    Column("entry", LargeBinary, nullable=False),
)
"""The newest record of each key. `state`: see `states`. `source`: see `Source`, of its state.

`entry` is the whole `CacheEntry` (see `codec`); the columns beside it are what lists are filtered
and ordered by, and what summaries count.
"""

CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("no", _NUMBER, primary_key=True, autoincrement=False),
    Column(
        "record", _NUMBER, ForeignKey(RECORDS.c.no, ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("at", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("status_text", Integer),
    Column("provider_error", Integer),
    Column("source", SmallInteger, nullable=False),
    Column("last_status_at", BigInteger, nullable=False),
)
"""Each change of a record's state. `no` is the one order of all changes: it is given under the lock
that writers hold until they commit, so no reader sees a later one before an earlier one.

`status` and `provider_error` are the provider's numbers.
"""

NAMES: Final = Table(
    "names",
    METADATA,
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)

COUNTERS: Final = Table(
    "counters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)
"""The last number given to a row of each of the other tables. A number is never given twice, also
when its row is gone: cursors of the feed are numbers of changes. Beside them: when a record was
last seen, the number of the last change that was too old to be kept, and `epoch`: a number made at
random with the tables, by which cursors of one database are no other's."""

TALLIES: Final = Table(
    "tallies",
    METADATA,
    Column("account", Text, primary_key=True),
    Column("dimension", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", Integer, primary_key=True, autoincrement=False),
    Column("outcome", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "50"},
)
"""How many records there are of each kind, so that a summary of all need not read them: see
`tallies`, which keeps them right with each row that is written or deleted."""

WEBHOOKS: Final = Table(
    "webhooks",
    METADATA,
    Column("account", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("failing_since", BigInteger),
    Column("last_success_at", BigInteger),
    Column("last_error_at", BigInteger),
    Column("last_error", Text),
    Column("off_at", BigInteger),
)
"""How far each webhook is: all changes up to `position` were delivered, or stand in `deliveries`.

Who delivers writes only while `generation` is the one it read: another process that takes over, and
a replay, give it the next one. `off_at`: when the address was switched off.
"""

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column(
        "change",
        _NUMBER,
        ForeignKey(CHANGES.c.no, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("account", Text, primary_key=True),
    Column("webhook", Text, primary_key=True),
    Column("record", _NUMBER, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("given_up_at", BigInteger),
    Column("error", Text),
)
"""The changes that a webhook did not take at the first try, or that wait behind one of those.

`next_at`: when the next try is due; null where an earlier change of the record has to go before it,
or where it was given up.
"""

FOLLOWS: Final = Table(
    "follows",
    METADATA,
    Column("no", _NUMBER, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("name", Text),
    Column("token", Text),
    Column("digest", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("until_at", BigInteger, nullable=False),
    Column("until_state", Text),
    Column("detail", SmallInteger, nullable=False),
    Column("done_at", BigInteger),
)
"""What callers have the gateway keep asking for. `token`: the `Idempotency-Key` it came with, and
`digest` what was asked with it. `detail`: the provider's number of the level."""

FOLLOWED: Final = Table(
    "followed",
    METADATA,
    Column(
        "follow",
        _NUMBER,
        ForeignKey(FOLLOWS.c.no, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("phone", Text, nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("state", SmallInteger),
)
"""The keys of each follow. `phone`: as the record is known by now. `outcome`: see `following`;
`state`: see `states`, null while none is known."""

Index("follows_by_owner", FOLLOWS.c.account, FOLLOWS.c.owner, FOLLOWS.c.token)
Index("followed_by_key", FOLLOWED.c.phone, FOLLOWED.c.id)
Index("followed_by_outcome", FOLLOWED.c.follow, FOLLOWED.c.outcome, FOLLOWED.c.state)

_D: Final = DELIVERIES.c
Index("deliveries_by_next_at", _D.account, _D.webhook, _D.next_at)
Index("deliveries_by_record", _D.account, _D.webhook, _D.record, _D.change)

_R: Final = RECORDS.c

Index("records_by_key", _R.account, _R.phone, _R.id, unique=True)
Index("records_by_first_seen_at", _R.account, _R.first_seen_at)
Index("records_by_changed_at", _R.account, _R.changed_at, _R.no, _R.sent_at)
Index("records_by_sent_at", _R.account, _R.sent_at, _R.no, _R.changed_at)
for _filter in ("phone", "id", "state", "operator", "sender"):
    Index(f"records_by_{_filter}_changed_at", _R.account, _R[_filter], _R.changed_at)
    Index(f"records_by_{_filter}_sent_at", _R.account, _R[_filter], _R.sent_at, _R.no)
_HAS_ERROR: Final[dict[str, Any]] = {
    "sqlite_where": text("error IS NOT NULL"),
    "postgresql_where": text("error IS NOT NULL"),
}
Index("records_by_error_changed_at", _R.account, _R.error, _R.changed_at, **_HAS_ERROR)
Index("records_by_error_sent_at", _R.account, _R.error, _R.sent_at, _R.no, **_HAS_ERROR)
"""A list is ordered by a time and then by number. Of records that changed in one second there are
few, which PostgreSQL sorts as it goes; but of any number it may not be told when they were sent."""
