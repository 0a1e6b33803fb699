"""Records of elsewhere come in at their own time, and move nothing back that is newer."""

from datetime import UTC, datetime

import orjson
import pytest
from msgspec.structs import replace

from gateway.archive.archive import Archive
from gateway.archive.importing import Learned, bring_in, read_line
from gateway.archive.names import Names
from gateway.model.records import DetailLevel, HlrLookup, StatusKey
from gateway.web.rest.fields import without_freshness
from tests.archive.support import PHONE, T0, entry, key

pytestmark = pytest.mark.anyio

NOW = T0 + 86_400.0
OTHER = "8" + PHONE[1:]


def line(of: StatusKey, status: int = 1, /, **fields: object) -> bytes:
    """A message as `decode` writes it, some of its fields changed."""
    record = entry(of, status).record
    assert record is not None
    return orjson.dumps(without_freshness(replace(record, changed_at=None)) | fields)


def read(text: bytes) -> Learned:
    learned = read_line(text, NOW)
    assert learned is not None
    return learned


async def bring(archive: Archive, *lines: bytes, content: bool = False) -> None:
    await bring_in(archive.database, Names(), map(read, lines), content=content)


async def history(archive: Archive, of: StatusKey) -> list[tuple[str, str, float]]:
    """State, source and time of each change."""
    told = (await archive.histories([of]))[of]
    return [(one.state, one.source, one.at.timestamp() - T0) for one in told]


@pytest.mark.parametrize(
    ("told", "after"),
    [
        (("changedAt", "lastStatusTime", "sentAt"), 30),
        (("lastStatusTime", "sentAt"), 20),
        (("sentAt",), 10),
        ((), NOW - T0),
    ],
)
def test_a_record_has_the_time_it_tells(told: tuple[str, ...], after: float) -> None:
    times = {"changedAt": 30, "lastStatusTime": 20, "sentAt": 10}
    fields: dict[str, object] = {
        name: datetime.fromtimestamp(T0 + seconds, UTC).isoformat() if name in told else None
        for name, seconds in times.items()
    }
    learned = read(line(key(), **fields))
    assert learned.at == T0 + after
    assert learned.entry.record is not None
    assert learned.entry.record.changed_at == datetime.fromtimestamp(T0 + after, UTC)


def test_the_level_of_detail_is_what_its_fields_show() -> None:
    basic = read(line(key(), sentAt=None)).entry
    standard = read(line(key(), text="Hello", type="SMS")).entry
    full = read(line(key(), subscriber={"operator": "MTS"})).entry
    assert [one.detail for one in (basic, standard, full)] == list(DetailLevel)
    assert [one.content for one in (basic, standard, full)] == [False, True, False]
    assert [one.certain for one in (basic, standard)] == [False, True]


def test_a_lookup_is_read() -> None:
    record = entry(key(), 1, kind=HlrLookup, err=0, imsi="250", net="MTS").record
    assert record is not None
    learned = read(orjson.dumps(without_freshness(record)))
    assert learned.entry.record == replace(record, changed_at=record.last_status_time)
    assert learned.entry.certain


def test_a_problem_is_no_record() -> None:
    assert (
        read_line(b'{"id":"1","phone":"79990000001","problem":{"code":"NOT_FOUND"}}', NOW) is None
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"status = 1", "it is not JSON"),
        (b'["79990000001"]', "it has no id"),
        (b"{}", "it has no id"),
        (b'{"id": "1", "phone": null}', "it has no phone"),
        (b'{"id": "1", "phone": "79990000001"}', "required field `kind`"),
        (line(key(), id="0"), "id must be a decimal number"),
        (line(key(), phone="79990000001 secret"), "phone must be"),
        (line(key(), state="LOST"), "Invalid enum value 'LOST' - at `$.state`"),
        (line(key(), changedAt="2026-01-15T10:00:00"), "its times have no zone"),
        (line(key(), changedAt="2026-01-18T10:00:00Z"), "it is of the future"),
    ],
)
def test_what_can_not_be_read_is_told_without_the_number(text: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its|id|phone) ") as raised:
        read_line(text, NOW)
    assert told in str(raised.value)
    assert PHONE not in str(raised.value)


async def test_what_is_imported_has_its_history(archive: Archive) -> None:
    lines = [line(key(), 0, lastStatusTime=None), line(key(), 1)]
    await bring(archive, *reversed(lines))
    imported = [("SENT", "CACHE", 0.0), ("DELIVERED", "CACHE", 15.0)]
    assert await history(archive, key()) == imported
    await bring(archive, *lines)
    assert await history(archive, key()) == imported


async def test_what_is_kept_and_newer_stays(archive: Archive) -> None:
    kept = entry(key(), 20, at=T0 + 60, err=6)
    archive.record(key(), kept)
    await archive.flush()
    await bring(archive, line(key(), 0), line(key(), 3), line(key(), 20, error=None))
    assert await history(archive, key()) == [("UNDELIVERABLE", "LIVE", 60.0)]
    (found,) = (await archive.look_up([key()])).values()
    assert kept.record is not None
    assert found.record is not None
    assert (found.record.error, found.observed_at) == (kept.record.error, T0 + 60)


async def test_what_was_imported_moves_on_when_more_is_learned(archive: Archive) -> None:
    await bring(archive, line(key(), 0))
    archive.record(key(), entry(key(), 1, at=T0 + 60))
    await archive.flush()
    told = [(state, source) for state, source, _ in await history(archive, key())]
    assert told == [("SENT", "CACHE"), ("DELIVERED", "LIVE")]


async def test_a_number_is_kept_in_the_spelling_that_is_there(archive: Archive) -> None:
    archive.record(key(1), entry(key(1), 0))
    await archive.flush()
    await bring(archive, line(key(1, OTHER)), line(key(2, OTHER)), line(key(2)))
    kept = await archive.look_up([key(1), key(1, OTHER), key(2), key(2, OTHER)])
    assert set(kept) == {key(1), key(2, OTHER)}
    assert {one.record.phone for one in kept.values() if one.record} == {PHONE, OTHER}


async def test_texts_come_in_only_if_they_are_to_be_kept(archive: Archive) -> None:
    for number, content in ((1, False), (2, True)):
        await bring(archive, line(key(number), text="secret", comment="also"), content=content)
    found = (await archive.look_up([key(1), key(2)])).values()
    assert [one.record.text for one in found if one.record] == [None, "secret"]
