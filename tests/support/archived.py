"""Fills an archive with many records at once, as a year of use would, past the writer.

A record has three changes on average. Of a hundred records one is of one watched number, and one
of one mailing, so that filters by a number and by an id have many pages too.
"""

import math
import random
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from msgspec.structs import replace
from sqlalchemy import insert, literal, make_url, select

from gateway.archive.codec import pack
from gateway.archive.states import Source
from gateway.archive.tables import CHANGES, COUNTERS, NAMES, RECORDS, TALLIES
from gateway.archive.tallies import SEEN, cells, counted
from gateway.model.records import DeliveryErrorCode, StatusKey
from tests.archive.support import T0, entry

DAYS: Final = 90
"""How far back records were sent, evenly; the last at `T0`."""

WATCHED: Final = "79990000001"
MAILING: Final = 777

OPERATORS: Final = [f"Operator {number}" for number in range(1, 41)]
COUNTRIES: Final = [f"Country {number}" for number in range(1, 61)]
SENDERS: Final = [f"Sender {number}" for number in range(1, 201)]
ERRORS: Final = [str(code) for code in DeliveryErrorCode]
TEXTS: Final = ["Доставлено", "Передано оператору", "Невозможно доставить"]
WORDS: Final = {
    word: no for no, word in enumerate([*OPERATORS, *COUNTRIES, *SENDERS, *ERRORS, *TEXTS], start=1)
}

STATES: Final = {4: 85, 5: 3, 8: 6, 7: 2, 9: 1, 3: 1, 1: 1, 22: 1}
"""Numbers of states, and how many of a hundred records are in them."""
_FAILED: Final = frozenset({7, 8, 9})
_OPEN: Final = frozenset({1, 3})
_SENT: Final = 3
_DELIVERED: Final = 4


def names() -> Iterator[tuple[Any, ...]]:
    """Rows of `names`."""
    return ((no, word) for word, no in WORDS.items())


def records(count: int, *, seed: int = 1) -> Iterator[tuple[Any, ...]]:
    """Rows of `records`, in the order of their columns and of first sight."""
    random_ = random.Random(seed)
    entries = _entries()
    columns = zip(
        random_.choices([*STATES], [*STATES.values()], k=count),
        _uneven(random_, OPERATORS, count),
        _uneven(random_, COUNTRIES, count),
        _uneven(random_, SENDERS, count),
        random_.choices([Source.ASKED, Source.PUSHED], [3, 7], k=count),
        strict=True,
    )
    apart = DAYS * 86_400 / count
    for no, (state, operator, country, sender, source) in enumerate(columns, start=1):
        sent = T0 - DAYS * 86_400 + int(no * apart)
        took = 0 if state in _OPEN else _seconds(random_)
        chance = random_.random()
        phone = str(79_100_000_000 + (no if chance > 0.99 else random_.randrange(count)))
        if chance < 0.01:
            phone = WATCHED
        yield (
            no,
            "",
            phone,
            MAILING if chance > 0.99 else 1000 + no,
            state,
            WORDS[random_.choice(ERRORS)] if state in _FAILED else None,
            operator,
            country,
            sender,
            sent + took + 1,
            sent,
            sent + took,
            sent + 1,
            sent + took + random_.randrange(60),
            source,
            random_.choice(entries),
        )


def changes(kept: Sequence[Any], last: int) -> list[tuple[Any, ...]]:
    """Rows of `changes` of a row of `records`, numbered behind the last one."""
    no, state, sent, changed, told = kept[0], kept[4], kept[10], kept[9], kept[11]
    text = WORDS[TEXTS[0]]
    return [
        (last + 1, no, sent, 1, -1, text + 1, None, Source.ASKED, sent),
        (last + 2, no, sent + 1, _SENT, 0, text + 1, None, Source.ASKED, sent),
        (last + 3, no, changed, state, 1, text, 6 if state in _FAILED else None, kept[14], told),
    ]


def fill(url: str, count: int) -> None:
    """Put so many records and their changes into an empty archive whose schema is up to date."""
    if url.startswith("sqlite"):
        _fill_sqlite(url.removeprefix("sqlite:///"), count)
    else:
        _fill_postgres(url, count)


def _fill_sqlite(path: str, count: int) -> None:
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")

        def put(table: str, rows: Sequence[Sequence[Any]]) -> None:
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own names

        connection.execute("BEGIN")
        for table, rows in _rows(count):
            put(table, rows)
        connection.execute(_tallied("sqlite"))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _fill_postgres(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for table, rows in _rows(count):
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        connection.execute(_tallied("postgresql").encode())
        connection.execute("VACUUM ANALYZE")


def _tallied(engine: str) -> str:
    """The statement that counts all records."""
    found = cells(counted([]).cte("some")).subquery()
    columns = [TALLIES.c[name] for name in ("account", "dimension", "value", "outcome", "count")]
    statement = insert(TALLIES).from_select(columns, select(literal(""), *found.c))
    dialect = make_url(f"{engine}://").get_dialect()()
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _rows(count: int) -> Iterator[tuple[str, Sequence[Sequence[Any]]]]:
    """Rows of each table, some thousands at a time, those first that others refer to."""
    yield NAMES.name, list(names())
    some: list[tuple[Any, ...]] = []
    last = newest = 0
    for row in records(count):
        some.append(row)
        newest = max(newest, row[13])
        if len(some) == 5000 or row[0] == count:
            yield RECORDS.name, some
            told = []
            for kept in some:
                told += changes(kept, last)
                last = told[-1][0]
            yield CHANGES.name, told
            some = []
    numbers = [("records", count), ("changes", last), (SEEN, newest)]
    yield COUNTERS.name, numbers


def _uneven(random_: random.Random, names: Sequence[str], count: int) -> list[int]:
    """Numbers of names, the first ones often."""
    weights = [1 / place for place in range(1, len(names) + 1)]
    return random_.choices([WORDS[name] for name in names], weights, k=count)


def _seconds(random_: random.Random) -> int:
    """Until a delivery: mostly some seconds; of twenty-five one telephone was off, up to a day."""
    if random_.random() < 0.04:
        return int(math.exp(random_.uniform(math.log(60), math.log(86_400))))
    return int(random_.lognormvariate(1.6, 0.9))


def _entries() -> list[bytes]:
    """Packed entries of a few dozen records that differ."""
    packed = []
    for number in range(48):
        sent = T0 - number * 86_413
        key = StatusKey(str(79_161_234_000 + number * 7919), 1_000_003 + number * 7907)
        status = 1 if number % 8 else 20
        made = entry(
            key,
            status,
            at=sent + 20 + number,
            send_timestamp=sent,
            sender_id=SENDERS[number],
            cost=f"{3 + number / 100:.2f}",
            country="Россия",
            operator=OPERATORS[number % 40],
            region="Москва и Московская область",
            mccmnc=25001 + number % 20,
            err=0 if status == 1 else 6,
        )
        assert made.record is not None
        at = datetime.fromtimestamp(sent + 21 + number, UTC)
        made = replace(made, record=replace(made.record, changed_at=at))
        packed.append(pack(made, content=False))
    return packed
