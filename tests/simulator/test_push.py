"""What the simulator pushes: each change of a status, signed, when it happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import httpx
import pytest
from asgi_lifespan import LifespanManager

from gateway.simulator import Handler, Limits, Report, create_simulator, sample_world
from gateway.simulator.push import push_form, signed
from gateway.simulator.samples import LOOKUP, MESSAGE
from gateway.simulator.world import Change
from tests.support.clock import START, FakeClock, settle

pytestmark = pytest.mark.anyio

SECRET = "zxc"
LIVE = ("79990000100", 100)


@dataclass
class Setup:
    """The simulator, and what its customer's handler was told and when."""

    clock: FakeClock = field(default_factory=FakeClock)
    pushed: list[dict[str, str]] = field(default_factory=list)
    addresses: list[httpx.URL] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    answers: list[int | Exception] = field(default_factory=list)
    charset: str = "windows-1251"

    def __post_init__(self) -> None:
        self.world = sample_world(self.clock.time)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        self.addresses.append(request.url)
        form = parse_qsl(request.content.decode(), strict_parsing=True, encoding=self.charset)
        self.pushed.append(dict(form))
        self.times.append(self.clock.now - START)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, text="OK" if answer == 200 else "a page")

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(form["id"], form["status"]) for form in self.pushed]


@asynccontextmanager
async def pushing(query: str = "") -> AsyncIterator[tuple[Setup, httpx.AsyncClient]]:
    setup = Setup()
    handler = Handler(f"http://handler.test/push{query}", httpx.MockTransport(setup.handle))
    app = create_simulator(
        setup.world,
        monotonic=setup.clock.monotonic,
        sleep=setup.clock.sleep,
        limits=Limits(setup.clock.monotonic),
        handler=handler,
        echo=setup.lines.append,
    )
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app), base_url="http://provider.test"
        ) as client,
    ):
        await settle()
        yield setup, client


async def test_each_change_of_a_status_is_pushed_when_it_happens() -> None:
    async with pushing() as (setup, _):
        await setup.clock.advance(100)
    assert setup.told == [("100", "0"), ("100", "1"), ("100", "2")]
    assert setup.times == [10, 30, 60]
    assert [int(form["ts"]) - START for form in setup.pushed] == [10, 30, 60]
    assert setup.lines[0].endswith("push   message 100 is 0 -> 200 OK")
    assert not any(LIVE[0] in line for line in setup.lines)


async def test_a_message_that_comes_later_is_not_waited_for_in_vain() -> None:
    async with pushing() as (setup, _):
        await setup.clock.advance(1)
        report = Report(id=7, phone="79990000007", status=-1, type=0)
        setup.world.add(report, [Change(2, {"err": 0}), Change(3, {"status": 1})])
        await setup.clock.advance(5)
    assert (setup.told, setup.times) == ([("7", "1")], [4])


async def test_a_message_put_in_place_of_another_status_has_changed() -> None:
    async with pushing() as (setup, _):
        before = setup.world.look(*LIVE)
        setup.world.add(Report(id=100, phone=LIVE[0], status=before.status))
        await settle()
        assert setup.told == []
        setup.world.add(Report(id=100, phone=LIVE[0], status=20, err=6))
        await settle()
    assert setup.told == [("100", "20")]


async def test_a_handler_that_does_not_take_it_is_told_of_the_next() -> None:
    async with pushing() as (setup, _):
        setup.answers = [500, httpx.ConnectError("no")]
        await setup.clock.advance(100)
    assert setup.told == [("100", "0"), ("100", "1"), ("100", "2")]
    assert [line.rpartition("-> ")[2] for line in setup.lines] == ["500", "ConnectError", "200 OK"]


def test_a_push_has_the_fields_it_knows() -> None:
    assert push_form(MESSAGE) == {
        "id": "1",
        "phone": "79990000001",
        "status": "1",
        "time": "15.11.2023 01:13:20",
        "ts": "1700000000",
        "err": "0",
        "type": "0",
        "flag": "0",
        "cost": "3.20",
        "cnt": "1",
    }
    assert push_form(LOOKUP)["imsi"] == LOOKUP.imsi


MD5 = "811e077235d1871bb1824f9e4c1a7bff"
SHA1 = "9baad458ca78b2484ecfd0eaf72fbe8d1b0df471"


def test_the_signatures_are_those_that_customers_compute() -> None:
    given = {"id": "30", "phone": "79998887766", "status": "1"}
    assert signed(given, SECRET) == given | {"md5": MD5, "sha1": SHA1}


@pytest.mark.parametrize(
    ("query", "pushed"),
    [
        ("", ""),
        ("?charset=utf-8", "?charset=utf-8"),
        (f"?sha1={SECRET}", f"?sha1={SHA1}"),
        (f"?key=a%26b&md5={SECRET}&empty=", f"?key=a%26b&md5={MD5}&empty="),
        (f"?md5={SECRET}&sha1={SECRET}", f"?md5={MD5}&sha1={SHA1}"),
        ("?md5=&a=1&a=2", "?md5=&a=1&a=2"),
    ],
)
async def test_a_hash_stands_where_the_address_has_the_secret(query: str, pushed: str) -> None:
    async with pushing(query) as (setup, _):
        setup.world.add(Report(id=30, phone="79998887766", status=-1), [Change(1, {"status": 1})])
        await setup.clock.advance(1)
    assert [str(url) for url in setup.addresses] == [f"http://handler.test/push{pushed}"]
    assert setup.told == [("30", "1")]
    assert {"md5", "sha1"}.isdisjoint(setup.pushed[0])


@pytest.mark.parametrize("charset", ["windows-1251", "koi8-r", "utf-8"])
async def test_a_push_is_in_the_charset_that_the_address_names(charset: str) -> None:
    named = "" if charset == "windows-1251" else f"?charset={charset}"
    async with pushing(named) as (setup, client):
        setup.charset = charset
        await client.post("/control/push", json={"id": 2, "phone": LOOKUP.phone})
    assert setup.pushed[0]["net"] == "МегаФон"


# Steering


async def test_pushes_can_be_sent_now_twice_late_and_forged() -> None:
    one = {"id": 100, "phone": "+7 999 000-01-00"}
    async with pushing(f"?md5={SECRET}") as (setup, client):
        await setup.clock.advance(40)
        setup.pushed.clear()
        answer = await client.post("/control/push", json=one | {"times": 2})
        assert (answer.status_code, answer.json()) == (200, ["200 OK", "200 OK"])
        assert setup.told == [("100", "1"), ("100", "1")]
        await client.post("/control/push", json=one | {"ago": 20})
        await client.post("/control/push", json=one | {"ago": 3600})
        assert setup.told[2:] == [("100", "0"), ("100", "-1")]
        await client.post("/control/push", json=one | {"fields": {"phone": "89990000100"}})
        await client.post("/control/push", json=one | {"fields": {"md5": "0", "status": "2"}})
    spelled, forged = setup.pushed[4:]
    assert (spelled["phone"], forged["status"]) == ("89990000100", "2")
    signatures = [url.params["md5"] for url in setup.addresses[-2:]]
    assert signatures == [signed(spelled, SECRET)["md5"], "0"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "id"),
        ({"id": 1}, "phone"),
        ({"id": "1", "phone": "79990000001"}, "id"),
        ({"id": 1, "phone": "79990000001", "times": 0}, "times"),
        ({"id": 1, "phone": "79990000001", "times": 101}, "times"),
        ({"id": 1, "phone": "79990000001", "ago": -1}, "ago"),
        ({"id": 1, "phone": "79990000001", "fields": []}, "fields"),
        ({"id": 1, "phone": "79990000001", "fields": {"err": 1}}, "fields"),
    ],
)
async def test_a_push_that_can_not_be_is_one_sentence(body: dict[str, object], word: str) -> None:
    async with pushing() as (setup, client):
        answer = await client.post("/control/push", json=body)
        assert answer.status_code == 400
        assert word in answer.json()["detail"]
        assert setup.pushed == []


async def test_an_unknown_message_is_pushed_as_not_found() -> None:
    async with pushing() as (setup, client):
        await client.post("/control/push", json={"id": 404, "phone": "79990000001"})
    assert setup.told == [("404", "-3")]


async def test_without_a_handler_there_is_nobody_to_push_to() -> None:
    app = create_simulator(sample_world(FakeClock().time))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://provider.test") as client:
        answer = await client.post("/control/push", json={"id": 1, "phone": "79990000001"})
    assert answer.status_code == 409
    assert "--callback" in answer.json()["detail"]
