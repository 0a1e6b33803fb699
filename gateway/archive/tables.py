"""The archive's tables, for SQLite and PostgreSQL alike; `migrations` brings a database to them.

Times are whole seconds since 1970, as callers see them; 0 where the provider told none, so that an
index orders such rows as well. Words that repeat a million times (operators, countries, senders,
error codes, the provider's words for a status) are numbers of the table `names`.
"""

from typing import Final

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
when its row is gone: cursors of the feed are numbers of changes."""

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

_ORDERS: Final = ("changed_at", "sent_at")
_FILTERS: Final = ("phone", "id", "state", "operator", "sender")

Index("records_by_key", RECORDS.c.account, RECORDS.c.phone, RECORDS.c.id, unique=True)
Index("records_by_first_seen_at", RECORDS.c.account, RECORDS.c.first_seen_at)
for _order, _other in (_ORDERS, _ORDERS[::-1]):
    Index(f"records_by_{_order}", RECORDS.c.account, RECORDS.c[_order], RECORDS.c[_other])
    for _filter in _FILTERS:
        Index(
            f"records_by_{_filter}_{_order}",
            RECORDS.c.account,
            RECORDS.c[_filter],
            RECORDS.c[_order],
        )
    Index(
        f"records_by_error_{_order}",
        RECORDS.c.account,
        RECORDS.c.error,
        RECORDS.c[_order],
        sqlite_where=text("error IS NOT NULL"),
        postgresql_where=text("error IS NOT NULL"),
    )
