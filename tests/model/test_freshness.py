"""How long a record is fresh, by its state and age."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from gateway.model.freshness import (
    Known,
    fresh_for,
    missing_for,
    serves_stale,
    watch_for,
)
from gateway.model.records import HlrLookup, Message, Record, RecordId, StatusKey
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Row

NOW = 1_800_000_000.0


def record(status: int, age: float | None = 0, kind: type[Record] = Message) -> Record:
    fields = {"status": str(status)}
    if age is not None:
        fields["send_timestamp"] = str(int(NOW - age))
    found = normalise(
        Row(fields),
        StatusKey("79990000001", 1),
        asked=kind,
        zone=UTC,
    )
    assert found is not None
    return found.record


@pytest.mark.parametrize("status", [-2, -1, 0])
@pytest.mark.parametrize(
    ("age", "seconds"),
    [(None, 12), (-100, 12), (0, 12), (60, 12), (240, 12), (3600, 180), (86_400, 600)],
)
def test_a_live_message_is_fresh_for_longer_the_older_it_is(
    status: int, age: float | None, seconds: float
) -> None:
    assert seconds <= fresh_for(record(status, age), NOW) <= seconds * 1.1


@pytest.mark.parametrize("status", [1, 2, 3, 4, 20, 22, 23, 24, 25])
@pytest.mark.parametrize("kind", [Message, HlrLookup])
def test_a_final_record_is_fresh_for_hours(status: int, kind: type[Record]) -> None:
    assert fresh_for(record(status, 0, kind), NOW) >= 2 * 3600


def test_a_delivered_message_may_still_be_read() -> None:
    assert fresh_for(record(1), NOW) < fresh_for(record(4), NOW)
    assert fresh_for(record(1, 0, HlrLookup), NOW) == fresh_for(record(20, 0, HlrLookup), NOW)


@pytest.mark.parametrize("kind", [Message, HlrLookup])
def test_an_unknown_state_is_asked_for_seldom(kind: type[Record]) -> None:
    assert 600 <= fresh_for(record(77, 0, kind), NOW) <= 660


def test_an_archived_message_does_not_change() -> None:
    archived = replace(record(-1), archived=True)
    assert 24 * 3600 <= fresh_for(archived, NOW) <= 26.4 * 3600


def test_what_is_learned_together_is_not_asked_for_again_together() -> None:
    one = record(-1)
    moments = {fresh_for(replace(one, id=RecordId(str(number))), NOW) for number in range(1, 101)}
    assert len(moments) == 100
    assert max(moments) - min(moments) > 1


@pytest.mark.parametrize(("age", "seconds"), [(0, 15), (900, 15), (1800, 30), (86_400, 600)])
def test_a_watched_message_is_seen_more_often(age: float, seconds: float) -> None:
    assert watch_for(record(0, age), NOW) == seconds


def test_a_final_record_answers_at_once_while_it_is_renewed() -> None:
    for status, promptly in ((1, True), (4, True), (0, False), (77, False)):
        known = Known(record(status), NOW, NOW)
        assert serves_stale(known, NOW + 1) is promptly
    assert not serves_stale(Known(record(1), NOW, NOW), NOW + 30 * 24 * 3600)
    assert not serves_stale(Known(None, NOW, NOW), NOW + 1)


def test_not_found_is_fresh_shortly_and_growing() -> None:
    seconds = [missing_for(misses) for misses in range(1, 40)]
    assert seconds[:4] == [10, 20, 40, 80]
    assert seconds == sorted(seconds)
    assert seconds[-1] == 900


def test_moments_are_whole_seconds() -> None:
    known = Known(record(1), NOW + 0.9, NOW + 10)
    assert known.observed == datetime.fromtimestamp(NOW, UTC)
