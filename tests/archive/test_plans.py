"""Every page is found in an index, from its place on: no engine scans the table or sorts it."""

import re
from typing import Any

import pytest
from sqlalchemy import Connection, Select, text

from gateway.archive.archive import open_database
from gateway.archive.changes import page_query as feed_query
from gateway.archive.database import Database
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import Order, Position, numbered, page_query
from gateway.archive.names import Names
from gateway.archive.rows import keyed
from gateway.archive.summary import summary_query
from gateway.archive.tables import RECORDS
from tests.archive.support import T0
from tests.support.archived import ERRORS, MAILING, OPERATORS, SENDERS, WATCHED, fill

pytestmark = pytest.mark.anyio

COUNT = 3000
LIMIT = 51

FILTERS = {
    "all": RecordFilter(),
    "phone": RecordFilter(phones=(WATCHED,)),
    "phones": RecordFilter(phones=(WATCHED, "79100000001")),
    "id": RecordFilter(ids=(MAILING,)),
    "state": RecordFilter(states=frozenset({8})),
    "states": RecordFilter(states=frozenset({5, 7, 8, 9, 22})),
    "errorCode": RecordFilter(errors=(ERRORS[0],)),
    "operator": RecordFilter(operators=(OPERATORS[0],)),
    "sender": RecordFilter(senders=(SENDERS[0],)),
    "sentAfter": RecordFilter(sent_after=T0 - 40 * 86_400),
    "sentBefore": RecordFilter(sent_before=T0 - 40 * 86_400),
    "changedAfter": RecordFilter(changed_after=T0 - 40 * 86_400),
    "changedBefore": RecordFilter(changed_before=T0 - 40 * 86_400),
}


@pytest.fixture
async def filled(url: str) -> Any:  # noqa: ANN401 - a fixture that yields
    database = open_database(url)
    await database.migrate()
    fill(url, COUNT)
    yield database
    await database.aclose()


async def test_each_page_of_each_filter_is_found_in_an_index(filled: Database) -> None:
    names = Names()
    for name, wanted in FILTERS.items():
        conditions = await filled.read(numbered, names, wanted)
        assert conditions is not None
        for order in Order:
            for after in (None, Position(T0 - 45 * 86_400, COUNT // 2)):
                query, values = page_query(conditions, order, after=after, limit=LIMIT)
                plan = await filled.read(explained, query.params(values))
                assert_walked(plan, conditions.any_of, order, f"{name} by {order}")


async def test_a_summary_of_all_reads_no_record(filled: Database) -> None:
    conditions = await filled.read(numbered, Names(), RecordFilter())
    assert conditions is not None
    plan = await filled.read(explained, summary_query(conditions))
    touched = [line for line in plan if re.search(r"\brecords\b", line)]
    assert touched
    assert all("records_by_first_seen_at" in line for line in touched), plan


async def test_each_key_is_looked_up_in_the_index(filled: Database) -> None:
    query = keyed(1, RECORDS.c.no, RECORDS.c.entry).params(phone0=WATCHED, id0=MAILING)
    plan = await filled.read(explained, query)
    (search,) = [line for line in plan if re.search(r"\brecords\b", line)]
    assert "records_by_key" in search or "records_by_id" in search, plan


async def test_the_feed_is_walked_by_number(filled: Database) -> None:
    names, wanted = Names(), RecordFilter(states=frozenset({4}), senders=(SENDERS[0],))
    for one in (RecordFilter(), wanted):
        query = await filled.read(feed_query, names, one, range(10, 2000), LIMIT)
        plan = await filled.read(explained, query)
        assert any(
            "changes_pkey" in line or "SEARCH changes USING INTEGER" in line for line in plan
        )
        is_sorted = any("sort" in line.lower() or "TEMP B-TREE" in line for line in plan)
        is_limited = one.senders is None  # to a page, before its records are read
        assert is_limited or not is_sorted, plan


async def test_the_feed_of_a_number_is_found_by_it(filled: Database) -> None:
    of_one = RecordFilter(phones=(WATCHED,))
    query = await filled.read(feed_query, Names(), of_one, range(9000), LIMIT)
    plan = await filled.read(explained, query)
    assert any("records_by_phone" in line or "records_by_key" in line for line in plan), plan


def explained(connection: Connection, query: Select[Any]) -> list[str]:
    """The lines of a plan; SQLite's say which sort is one of records."""
    dialect = connection.dialect
    statement = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    if dialect.name == "sqlite":
        rows = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
        steps = rows.all()
        searching = {parent for _, parent, _, step in steps if "records_by_" in step}
        return [
            f"{step}, of records" if "TEMP B-TREE" in step and parent in searching else step
            for _, parent, _, step in steps
        ]
    for way in (
        "seqscan",
        "bitmapscan",
        "mergejoin",
        "hashjoin",
    ):  # what a small table would be read by
        connection.execute(text(f"SET LOCAL enable_{way} = off"))
    rows = connection.execute(text(f"EXPLAIN {statement}"))
    return [row[0] for row in rows]


def assert_walked(plan: list[str], any_of: dict[str, Any], order: Order, what: str) -> None:
    shown = what + "\n" + "\n".join(plan)
    column = order.column.name
    led_by = next(iter(any_of), None)
    index = f"records_by_{led_by}_{column}" if led_by else f"records_by_{column}"
    assert any(index in line for line in plan), shown
    for line in plan:
        if "SCAN" in line:  # SQLite
            assert re.fullmatch(r"SCAN (\w+|\(subquery-\d+\))", line), shown
            assert "SCAN records" not in line, shown
        assert not line.endswith(", of records"), shown  # sorted before it was limited
        assert "Seq Scan" not in line, shown
        found = re.search(r"(?<!Incremental )Sort .*rows=(\d+)", line)  # PostgreSQL
        if found:
            most = LIMIT * max(1, len(any_of.get(led_by, ())) if led_by else 1)
            assert int(found[1]) <= most, shown
