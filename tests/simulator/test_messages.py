"""A message that was added with little said of it is told whole, by the provider's names."""

import json
from collections.abc import AsyncIterator
from xml.etree import ElementTree as ET

import pytest

from gateway.simulator import Report, World
from gateway.simulator import world as worlds
from gateway.simulator.messages import FIELDS
from tests.support.simulator import Provider, running

pytestmark = pytest.mark.anyio

ONE = {"id": 500, "phone": "79990000500"}
NETWORK = {"imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"}
MESSAGE_ONLY = {"comment", "mccmnc", "operator_orig", "sms_cnt"}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as it:
        yield it


async def told(provider: Provider, **asked: object) -> dict[str, object]:
    """All that is told of the message in JSON."""
    answer = await provider.get(**ONE | {"fmt": 3, "all": 2, "charset": "utf-8"} | asked)
    fields: dict[str, object] = json.loads(answer.content)
    return fields


async def test_id_and_phone_make_a_whole_message(provider: Provider) -> None:
    answer = await provider.post("messages", **ONE)
    assert answer.json() == {
        "id": 500,
        "phone": "79990000500",
        "status": 1,
        "last_timestamp": 1_800_000_000,
        "flag": 0,
        "err": 0,
        **dict.fromkeys(NETWORK),
        "send_timestamp": 1_800_000_000,
        "cost": "3.20",
        "sender_id": "SMSC.RU",
        "status_name": "Доставлено",
        "message": "Тестовое сообщение",
        "comment": "",
        "mccmnc": "25002",
        "country": "Россия",
        "operator": "МегаФон",
        "operator_orig": "МТС",
        "region": "г. Москва",
        "type": 0,
        "sms_cnt": 1,
    }


@pytest.mark.parametrize("type_", [0, 4, 7, 8, 10])
async def test_it_is_whole_in_every_format(provider: Provider, type_: int) -> None:
    await provider.post("messages", **ONE, type=type_)
    asked = ONE | {"all": 2, "charset": "utf-8"}
    lookup, email = type_ == 4, type_ == 8
    names = set(FIELDS) - {"id", "timeline"} - (MESSAGE_ONLY if lookup else NETWORK)
    if email:
        names -= {"mccmnc", "country", "operator", "operator_orig", "region", "sms_cnt"}
    fields = await told(provider)
    assert set(fields) == names | {"last_date", "send_date"}
    assert None not in fields.values()
    xml = ET.fromstring((await provider.get(**asked, fmt=2)).content.decode())  # noqa: S314 - ours
    assert {child.tag for child in xml} == set(fields)
    text = (await provider.get(**asked, fmt=0)).content.decode()
    labels = names - {"last_timestamp", "send_timestamp", "flag", "sms_cnt"}
    assert all(f"{name} = " in text.lower() or f"{name}= " in text for name in labels)
    line = (await provider.get(**asked, fmt=1)).content.decode()
    assert line.count(",") + 1 == (21 if lookup else 14)
    if not email:
        gaps = {"rcn", "rnet", "message"} if lookup else {"comment"}
        assert [value.strip() for value in line.split(",")].count("") == len(gaps)


async def test_the_first_names_of_three_fields_still_go(provider: Provider) -> None:
    await provider.post("messages", **ONE, last=1_700_000_000, sent=1_600_000_000, sender="Robot")
    fields = await told(provider)
    assert fields["last_timestamp"] == 1_700_000_000
    assert (fields["send_timestamp"], fields["sender_id"]) == (1_600_000_000, "Robot")


async def test_what_is_named_overrules_and_null_leaves_out(provider: Provider) -> None:
    given = {"last_timestamp": 1_700_000_000, "flag": None, "err": None, "comment": None}
    await provider.post("messages", **ONE, **given)
    fields = await told(provider, all=0)
    assert fields == {
        "status": 1,
        "last_date": "15.11.2023 01:13:20",
        "last_timestamp": 1_700_000_000,
    }
    fields = await told(provider)
    assert fields["send_timestamp"] == 1_700_000_000
    assert "comment" not in fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"flag": 4}, {"type": 4, "sender_id": "HLR", "net": "МегаФон", "cost": "0.30"}),
        ({"phone": "a@example.com"}, {"type": 8, "flag": 8}),
        ({"type": 10}, {"flag": 10}),
        ({"flag": 32 + 256}, {"type": 0, "flag": 288}),
        ({"status": 20}, {"err": 6, "status_name": "Невозможно доставить"}),
        ({"status": 20, "err": 0}, {"err": 0}),
        ({"status": 22}, {"err": 249}),
        ({"status": -1, "type": 4}, {"err": 0, "imsi": "", "mcc": "", "net": ""}),
        ({"status": 20, "type": 4}, {"err": 6, "imsi": "", "mcc": "250", "net": "МегаФон"}),
        ({"status": 20, "type": 4, "imsi": "1"}, {"imsi": "1", "msc": ""}),
        ({"message": "ж" * 71}, {"sms_cnt": 2, "cost": "6.40"}),
    ],
)
async def test_the_rest_fits_what_is_said(
    provider: Provider, given: dict[str, object], expected: dict[str, object]
) -> None:
    await provider.post("messages", **ONE | given)
    fields = await told(provider, phone=given.get("phone", ONE["phone"]))
    assert {name: fields[name] for name in expected} == expected


async def test_what_goes_with_a_status_comes_with_its_change(provider: Provider) -> None:
    timeline = [{"after": 5, "status": 20}, {"after": 10, "status": 1}]
    await provider.post("messages", **ONE, type=4, status=-1, rnet="Kcell", timeline=timeline)
    seen = []
    for _ in range(3):
        fields = await told(provider)
        seen.append((fields["status"], fields["err"], fields["mcc"], fields["imsi"] != ""))
        assert fields["rnet"] == "Kcell"
        provider.now += 5
    assert seen == [(-1, 0, "", False), (20, 6, "250", False), (1, 0, "250", True)]


def test_an_id_that_was_used_is_not_given_again() -> None:
    world = World(lambda: 1_800_000_000.0)
    world.add(Report(id=1002, phone="70001", status=1))
    assert [world.next_id(), world.next_id(), world.next_id()] == [1001, 1003, 1004]
    world.delete("70001", 1002)
    assert world.next_id() == 1005


def test_the_oldest_message_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "MAX_MESSAGES", 2)
    world = World(lambda: 1_800_000_000.0)
    kept = []
    for id_ in (1, 2, 2, 1, 3):  # what is renewed is the newest
        world.add(Report(id=id_, phone="70001", status=1))
        kept.append([report.id for report in world.reports()])
    assert kept == [[1], [1, 2], [1, 2], [2, 1], [1, 3]]
