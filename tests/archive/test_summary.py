"""A summary is what counting the records one by one gives, whatever was written and deleted."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Row, select

from gateway.archive.archive import Archive, erase_phones, forget_before
from gateway.archive.filters import RecordFilter
from gateway.archive.states import STATES, Source
from gateway.archive.summary import SLOW, DeliverySeconds, DeliveryTimes, RecordSummary
from gateway.archive.tables import NAMES, RECORDS, TALLIES
from gateway.archive.tallies import cells, counted
from gateway.model.freshness import CacheEntry
from gateway.model.records import FreshnessSource, Message, StateGroup, StatusKey
from tests.archive.support import LOOKUP, T0, entry, key, rows_in

pytestmark = pytest.mark.anyio

KEYS = [key(number, f"7999000000{number % 5}") for number in range(1, 121)]
SENDERS = [f"sender {number}" for number in range(56)]

AnyRow = Row[Any]
FILTERS: list[tuple[RecordFilter, Callable[[AnyRow], bool]]] = [
    (RecordFilter(), lambda _: True),
    (RecordFilter(sent_after=1), lambda row: row.sent_at >= 1),
    (RecordFilter(states=frozenset({4, 8})), lambda row: row.state in {4, 8}),
    (
        RecordFilter(sent_after=T0, sent_before=T0 + 3600),
        lambda row: T0 <= row.sent_at < T0 + 3600,
    ),
    (RecordFilter(phones=("79990000001",)), lambda row: row.phone == "79990000001"),
    (RecordFilter(ids=(10**9,)), lambda _: False),
]


def learned(random_: random.Random, of: StatusKey, at: int) -> CacheEntry:
    """Something that the provider may tell of a message, or of a lookup."""
    sent = random_.choice([0, T0 - 3600, T0, T0 + random_.randrange(7200)])
    status = random_.choice([-1, 0, 1, 1, 1, 2, 3, 20])
    return entry(
        of,
        status,
        at=at,
        kind=LOOKUP if of.id % 9 == 0 else Message,
        send_timestamp=sent or "",
        last_timestamp=random_.choice(["", T0 - 7200, sent + random_.randrange(1, 2000)]),
        err=random_.choice([0, 6]) if status != 20 else random_.choice([1, 6, 13, 248]),
        sender_id=random_.choice(["", *SENDERS]),
        country=random_.choice(["", "Россия", "Казахстан"]),
        operator=random_.choice(["", "МТС", "Билайн"]),
    )


async def write_some(archive: Archive, random_: random.Random, at: int) -> None:
    for of in random_.sample(KEYS, 80):
        made = learned(random_, of, at)
        if random_.random() < 0.5:
            made = CacheEntry(
                made.record, made.observed_at, made.fresh_until, source=FreshnessSource.CALLBACK
            )
        archive.record(of, made)
    await archive.flush()


@pytest.mark.parametrize("seed", range(3))
async def test_a_summary_is_what_counting_gives(archive: Archive, seed: int) -> None:
    random_ = random.Random(seed)
    await check(archive)
    for step in range(3):
        await write_some(archive, random_, T0 + step * 1000)
        await check(archive)
    for of in random_.sample(KEYS, 30):
        archive.erase(of)
    archive.record(KEYS[0], learned(random_, KEYS[0], T0 + 5000))
    await archive.flush()
    await check(archive)
    assert await erase_phones(archive.database, ["79990000001"])
    await check(archive)
    assert await forget_before(archive.database, T0 + 2000)
    await check(archive)
    await write_some(archive, random_, T0 + 9000)
    await check(archive)
    while await forget_before(archive.database, T0 + 10_000):
        pass
    await check(archive)
    assert await rows_in(archive, select(TALLIES)) == []


async def check(archive: Archive) -> None:
    rows = await rows_in(archive, select(RECORDS))
    words = {row.no: row.name for row in await rows_in(archive, select(NAMES))}
    kept = select(TALLIES).where(TALLIES.c["count"] != 0)
    told = [tuple(row)[1:] for row in await rows_in(archive, kept)]
    counted_now = await rows_in(archive, cells(counted([]).cte()))
    assert sorted(told) == sorted(map(tuple, counted_now))
    for wanted, matches in FILTERS:
        summary = await archive.summary(wanted)
        assert summary == plain([row for row in rows if matches(row)], words), wanted
        assert await archive.count(wanted) == summary.total
        times = await archive.delivery_times(wanted)
        assert times == by_hour([row for row in rows if matches(row)]), wanted


def by_hour(rows: Sequence[AnyRow]) -> DeliveryTimes:
    """How long the deliveries of these rows took by the hour, one by one."""
    hours = sorted({row.sent_at // 3600 for row in rows if row.sent_at})
    told = {
        hour: delivery_seconds([row for row in rows if row.sent_at // 3600 == hour])
        for hour in hours
    }
    return DeliveryTimes.model_validate(
        {
            "per_hour": [
                {"hour": hour * 3600, "delivery_seconds": times}
                for hour, times in told.items()
                if times.count
            ]
        },
        by_name=True,
    )


def plain(rows: Sequence[AnyRow], words: dict[int, str]) -> RecordSummary:
    """The summary of these rows, counted one by one."""
    states = Counter(STATES[row.state].state.value for row in rows)
    sources = Counter(row.source for row in rows)
    hours = sorted({row.sent_at // 3600 for row in rows if row.sent_at})
    by_hour = {hour: [row for row in rows if row.sent_at // 3600 == hour] for hour in hours}

    def grouped(column: str, name: str, largest: int | None) -> list[dict[str, Any]]:
        values = Counter(getattr(row, column) for row in rows)
        ordered = sorted(values, key=lambda value: (-values[value], value or 0))
        groups = [({value}, words.get(value)) for value in ordered[:largest]]
        if largest is not None and ordered[largest:]:
            groups.append((set(ordered[largest:]), "other"))
        return [
            {name: word, **counts([row for row in rows if getattr(row, column) in value])}
            for value, word in groups
        ]

    return RecordSummary.model_validate(
        {
            "total": len(rows),
            "by_state": [
                {"state": state, "count": count}
                for state, count in sorted(states.items(), key=lambda one: (-one[1], one[0]))
            ],
            "by_error_code": grouped("error", "error_code", None),
            "by_operator": grouped("operator", "operator", 50),
            "by_country": grouped("country", "country", 50),
            "by_sender": grouped("sender", "sender", 50),
            "delivery_seconds": delivery_seconds(rows),
            "coverage": {
                "first_seen_at": min((row.first_seen_at for row in rows), default=None),
                "last_seen_at": max((row.seen_at for row in rows), default=None),
                "pushed": sources[Source.PUSHED],
                "asked": sources[Source.ASKED],
                "imported": sources[Source.IMPORTED],
            },
            "per_hour": [
                {
                    "hour": hour * 3600,
                    "sent": len(some),
                    "delivered": counts(some)["delivered"],
                    "failed": counts(some)["failed"],
                }
                for hour, some in by_hour.items()
            ],
        },
        by_name=True,
    )


def counts(rows: Sequence[AnyRow]) -> dict[str, Any]:
    groups = [STATES[row.state].group for row in rows]
    return {
        "count": len(rows),
        "delivered": groups.count(StateGroup.DELIVERED),
        "failed": groups.count(StateGroup.FAILED),
        "delivery_seconds": delivery_seconds(rows),
    }


def delivery_seconds(rows: Sequence[AnyRow]) -> DeliverySeconds:
    times = sorted(
        row.last_status_at - row.sent_at
        for row in rows
        if STATES[row.state].state.value == "DELIVERED"
        and row.sent_at
        and row.last_status_at >= row.sent_at
    )

    def within(percent: int) -> int | None:
        return times[-(-len(times) * percent // 100) - 1] if times else None

    return DeliverySeconds(
        count=len(times),
        p50=within(50),
        p90=within(90),
        p99=within(99),
        over={
            str(slow): round(sum(took > slow for took in times) / len(times), 4) if times else 0.0
            for slow in SLOW
        },
    )


async def test_what_took_just_so_long_took_no_longer(archive: Archive) -> None:
    for number, took in enumerate((30, 31, 60, 900, 901), start=1):
        archive.record(key(number), entry(key(number), 1, at=T0 + took + 5))
    await archive.flush()
    told = (await archive.summary(RecordFilter())).delivery_seconds
    assert (told.p50, told.p99) == (60, 901)
    assert told.over == {"30": 0.8, "60": 0.4, "300": 0.4, "900": 0.2}


async def test_seen_again_a_state_is_still_told_by_who_told_it_first(archive: Archive) -> None:
    pushed = replace(entry(key(), 1), source=FreshnessSource.CALLBACK)
    archive.record(key(), pushed)
    await archive.flush()
    archive.record(key(), entry(key(), 1, at=T0 + 90))
    await archive.flush()
    told = (await archive.summary(RecordFilter())).coverage
    assert (told.pushed, told.asked) == (1, 0)
