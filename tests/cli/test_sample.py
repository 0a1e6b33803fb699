"""The demo's day is the same each time, and as a gateway would have learned it."""

import asyncio
from collections import Counter
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from gateway.archive.archive import Archive, open_database
from gateway.archive.codec import unpack
from gateway.archive.filters import RecordFilter
from gateway.archive.states import Source
from gateway.archive.summary import RecordSummary
from gateway.archive.tables import CHANGES, RECORDS
from gateway.cli.sample import Lived, add_to, keep, sample_day
from gateway.model.records import Record
from gateway.simulator import World
from tests.archive.support import rows_in
from tests.support.clock import START, FakeClock

DAY = 24 * 3600


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    filled = f"sqlite:///{tmp_path_factory.mktemp('sample')}/archive.db"
    asyncio.run(keep(sample_day(START), filled, START, ZoneInfo("Europe/Moscow")))
    return filled


def moved(life: Lived, seconds: int) -> Lived:
    """The same life at another time."""
    report = life.report
    sent = replace(report, sent=(report.sent or 0) + seconds, last=(report.last or 0) + seconds)
    return Lived(sent, [(at + seconds, fields) for at, fields in life.changes])


def test_it_is_the_same_each_time() -> None:
    assert sample_day(START + 1000) == [moved(life, 1000) for life in sample_day(START)]


def test_nothing_is_older_than_a_day_and_nothing_was_sent_later_than_now() -> None:
    for life in sample_day(START):
        assert START - DAY <= (life.report.sent or 0) <= START


async def read(url: str) -> tuple[list[Record], list[list[tuple[int, int]]], RecordSummary]:
    """The records, the time and source of each one's changes, and the summary."""
    archive = Archive(open_database(url), FakeClock(), content=False, days=0)
    await archive.flush()
    packed = [entry for (entry,) in await rows_in(archive, select(RECORDS.c.entry))]
    in_order = select(CHANGES.c.record, CHANGES.c.at, CHANGES.c.source).order_by(CHANGES.c.no)
    changes: dict[int, list[tuple[int, int]]] = {}
    for record, at, source in await rows_in(archive, in_order):
        changes.setdefault(record, []).append((at, source))
    summary = await archive.summary(RecordFilter())
    await archive.aclose()
    records = [unpack(one).record for one in packed]
    return [one for one in records if one is not None], list(changes.values()), summary


def test_it_looks_like_a_day(url: str) -> None:
    records, changes, summary = asyncio.run(read(url))
    assert 1000 < summary.total < 2000
    states = {one.state: one.count for one in summary.by_state}
    assert set(states) >= {"SENT", "DELIVERED", "READ", "CLICKED", "EXPIRED", "COMPLETED"}
    assert set(states) >= {"UNDELIVERABLE", "REJECTED"}
    assert states["DELIVERED"] > summary.total * 0.7
    assert len(summary.by_operator) > 6
    assert len(summary.by_country) == 3
    assert len(summary.by_error_code) > 6
    assert len(summary.per_hour) > 20
    assert summary.delivery_seconds.p50 is not None
    assert summary.delivery_seconds.p50 < 15
    assert len(changes) == len(records)
    lengths = Counter(map(len, changes))
    assert sum(lengths[length] for length in (2, 3, 4)) > 0.95 * summary.total
    for of_one in changes:
        times = [at for at, _ in of_one]
        assert times == sorted(times)
        assert max(times) <= START
    sources = Counter(source for of_one in changes for _, source in of_one)
    assert sources[Source.PUSHED] > sources[Source.ASKED] > 0


def test_the_simulated_provider_knows_them_and_goes_on(url: str) -> None:
    clock = FakeClock()
    world = World(clock.time)
    add_to(world, sample_day(START))
    records, _, _ = asyncio.run(read(url))
    for record in records:
        told = world.look(record.phone, int(record.id))
        if record.is_final:
            assert told.status >= record.provider_status.code
        assert (told.operator, told.sender) == (
            record.subscriber.operator if record.subscriber else None,
            record.sender,
        )
    coming = [report.status for report in world.changed(START, START + 600)]
    assert coming.count(1) > 30
