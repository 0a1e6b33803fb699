"""A list that is read page by page has each record once, in its order, whatever its filter."""

import random
from collections.abc import Callable

import pytest
from sqlalchemy import Row, insert, select

from gateway.archive import listing
from gateway.archive.archive import Archive
from gateway.archive.codec import pack
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import Order, cursor_of, position_of
from gateway.archive.tables import NAMES, RECORDS
from tests.archive.support import entry, key, rows_in, run_in

pytestmark = pytest.mark.anyio

COUNT = 400
TIMES = 12
"""Times that there are: far fewer than records."""
NAMED = {1: "first", 2: "second", 3: "BUSY"}

Matching = Callable[[Row[tuple[int, ...]]], bool]

FILTERS: dict[str, tuple[RecordFilter, Matching]] = {
    "all": (RecordFilter(), lambda _: True),
    "phone": (RecordFilter(phones=("79990000001",)), lambda row: row.phone == "79990000001"),
    "phones": (
        RecordFilter(phones=("79990000001", "79990000003")),
        lambda row: row.phone in {"79990000001", "79990000003"},
    ),
    "id": (RecordFilter(ids=(7, 8, 9)), lambda row: row.id in {7, 8, 9}),
    "state": (RecordFilter(states=frozenset({4})), lambda row: row.state == 4),
    "states": (
        RecordFilter(states=frozenset({3, 4, 8})),
        lambda row: row.state in {3, 4, 8},
    ),
    "operator": (RecordFilter(operators=("first",)), lambda row: row.operator == 1),
    "operators": (RecordFilter(operators=("first", "second")), lambda row: row.operator in {1, 2}),
    "error and state": (
        RecordFilter(errors=("BUSY",), states=frozenset({8})),
        lambda row: row.error == 3 and row.state == 8,
    ),
    "sender and a time": (
        RecordFilter(senders=("second",), sent_after=4),
        lambda row: row.sender == 2 and row.sent_at >= 4,
    ),
    "sentAfter": (RecordFilter(sent_after=5), lambda row: row.sent_at >= 5),
    "sentBefore": (RecordFilter(sent_before=5), lambda row: 0 < row.sent_at < 5),
    "changed within": (
        RecordFilter(changed_after=3, changed_before=9),
        lambda row: 3 <= row.changed_at < 9,
    ),
    "both times": (
        RecordFilter(changed_after=3, sent_before=9),
        lambda row: row.changed_at >= 3 and 0 < row.sent_at < 9,
    ),
    "an unknown name": (RecordFilter(operators=("third",)), lambda _: False),
}


@pytest.fixture
async def filled(archive: Archive) -> Archive:
    random_ = random.Random(5)
    packed = pack(entry(key()), content=False)
    rows = [
        {
            "no": no,
            "account": "",
            "phone": f"7999000000{random_.randrange(5)}",
            "id": no if no > 20 else no % 10 * 1000 + no,
            "state": random_.choice([3, 4, 8]),
            "error": random_.choice([None, 3]),
            "operator": random_.choice([None, 1, 2]),
            "country": None,
            "sender": random_.choice([None, 1, 2]),
            "changed_at": random_.randrange(1, TIMES),
            "sent_at": random_.randrange(TIMES),
            "last_status_at": 0,
            "first_seen_at": 1,
            "seen_at": 1,
            "source": 0,
            "entry": packed,
        }
        for no in random_.sample(range(1, 10 * COUNT), COUNT)
    ]
    for row, id_ in zip(rows, [7, 8, 9], strict=False):
        row["id"] = id_
    names = [{"no": no, "name": name} for no, name in NAMED.items()]
    await run_in(archive.database, insert(RECORDS).values(rows), insert(NAMES).values(names))
    return archive


@pytest.mark.parametrize("few", [0, COUNT], ids=["walked", "sorted"])
async def test_pages_have_each_record_once_and_in_order(
    filled: Archive, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FEW", few)
    rows = await rows_in(filled, select(RECORDS))
    for name, (wanted, matches) in FILTERS.items():
        for order in Order:
            column = order.column.name
            expected = sorted(
                [(getattr(row, column), row.no) for row in rows if matches(row)],
                reverse=order.is_descending,
            )
            for limit in (7, 1000):
                walked = await walk(filled, wanted, order, limit)
                assert walked == expected, (name, order, limit)
        if wanted != RecordFilter():  # what is counted as it is written was not written here
            assert await filled.count(wanted) == len(expected), name


async def walk(
    archive: Archive, wanted: RecordFilter, order: Order, limit: int
) -> list[tuple[int, int]]:
    """The positions of all records of a list, read page by page by its cursors."""
    found: list[tuple[int, int]] = []
    after = None
    while True:
        some = await archive.list_page(wanted, order, after=after, limit=limit)
        found += [(one.position.time, one.no) for one in some]
        if len(some) < limit:
            return found
        after = position_of(cursor_of(order, some[-1].position), order)


async def test_a_cursor_from_outside_the_range_goes_on_within_it(filled: Archive) -> None:
    for order, expected in ((Order.SENT_ASC, 5), (Order.SENT_DESC, 7)):
        beyond = listing.Position(1 if order is Order.SENT_ASC else 11, 1)
        wanted = RecordFilter(sent_after=5, sent_before=8)
        some = await filled.list_page(wanted, order, after=beyond, limit=3)
        assert [one.position.time for one in some] == [expected] * 3


async def test_a_word_that_no_database_takes_matches_nothing(archive: Archive) -> None:
    """PostgreSQL has no NUL in a text; what is longer than any name is none either."""
    for word in ("\0", "M\0TS", "M" * 300):
        for wanted in (RecordFilter(operators=(word,)), RecordFilter(senders=(word,))):
            assert await archive.list_page(wanted, Order.SENT_ASC, after=None, limit=1) == []
            assert await archive.count(wanted) == 0
