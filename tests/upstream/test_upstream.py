"""The provider over real HTTP."""

import gzip
import json
import logging
import time
from collections.abc import Iterator

import httpx
import pytest

from gateway import errors
from gateway.model.records import DetailLevel, StatusKey
from gateway.simulator import Limits, create_simulator, sample_world
from gateway.smsc.query import Credentials
from gateway.smsc.row import Row
from gateway.upstream.client import Upstream, create_client
from tests.support.clock import FakeClock
from tests.support.server import Kept, closed_port, keeping_server, raw_server, serving

pytestmark = pytest.mark.anyio

KEY = StatusKey("79990000001", 1)
LOGIN = Credentials(login="demo", password="demo")


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    limits = Limits(time.monotonic, per_message=10_000, mass=10_000)
    with serving(create_simulator(sample_world(time.time), limits=limits)) as address:
        yield address


async def ask(
    *urls: str,
    keys: tuple[StatusKey, ...] = (KEY,),
    credentials: Credentials = LOGIN,
    fmt: int = 3,
    seconds: float = 5,
) -> dict[StatusKey, Row]:
    async with create_client(timeout=seconds, concurrency=4) as client:
        upstream = Upstream(
            client,
            urls=[f"{url}/sys/" for url in urls],
            credentials=credentials,
            monotonic=time.monotonic,
            fmt=fmt,
            charset="utf-8",
            timeout=seconds,
        )
        return dict(await upstream.ask(keys, DetailLevel.FULL))


def fault(provider: str, kind: str, value: object = None) -> None:
    body = {"kind": kind, "value": value}
    httpx.post(f"{provider}/control/fault", json=body).raise_for_status()


def asked(provider: str) -> list[dict[str, object]]:
    log: list[dict[str, object]] = httpx.get(f"{provider}/control/log").json()
    return log


@pytest.mark.parametrize("fmt", range(4))
async def test_asks_in_every_format(provider: str, fmt: int) -> None:
    (row,) = (await ask(provider, fmt=fmt)).values()
    assert (row.fields["status"], row.fields["sender_id"]) == ("1", "SMSC.RU")


async def test_credentials_travel_in_the_form_alone(provider: str) -> None:
    await ask(provider)
    await ask(provider, credentials=Credentials(api_key="demo-key"))
    log = asked(provider)
    assert {(request["method"], request["via"]) for request in log} == {("POST", "form")}
    assert {request["outcome"] for request in log[-2:]} == {"ok"}


async def test_a_list_comes_back_by_its_pairs(provider: str) -> None:
    other = StatusKey("79990000003", 3)
    rows = await ask(provider, keys=(other, KEY))
    assert {key.id: row.fields["status"] for key, row in rows.items()} == {1: "1", 3: "20"}


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        ("html", None, errors.UpstreamBadAnswer),
        ("empty", None, errors.UpstreamBadAnswer),
        ("comma", None, errors.UpstreamBadAnswer),
        ("cut", None, errors.UpstreamBadAnswer),
        ("status", 500, errors.UpstreamUnreachable),
        ("status", 503, errors.UpstreamUnreachable),
        ("status", 404, errors.UpstreamBadAnswer),
        ("error", 1, errors.InvalidArgument),
        ("error", 2, errors.UpstreamAuthFailed),
        ("error", 4, errors.UpstreamBlocked),
        ("error", 9, errors.RateLimited),
        ("error", 77, errors.UpstreamError),
    ],
)
async def test_each_failure_is_its_leaf(
    provider: str, kind: str, value: object, error: type[errors.GatewayError]
) -> None:
    fault(provider, kind, value)
    with pytest.raises(error) as caught:
        await ask(provider)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("kind", "value"),
    [*(("format", n) for n in range(3)), ("charset", None), ("header", None), ("header", "koi8-r")],
)
async def test_an_answer_that_was_not_asked_for_reads_all_the_same(
    provider: str, kind: str, value: object
) -> None:
    fault(provider, kind, value)
    (row,) = (await ask(provider)).values()
    assert row.fields["status_name"] == "Доставлено"


async def test_wrong_credentials(provider: str) -> None:
    with pytest.raises(errors.UpstreamAuthFailed):
        await ask(provider, credentials=Credentials(login="demo", password="wrong"))


async def test_no_answer_in_time(provider: str) -> None:
    fault(provider, "hang", 0.5)
    with pytest.raises(errors.UpstreamTimeout, match=r"within 0\.1 seconds"):
        await ask(provider, seconds=0.1)


async def test_no_connection_spent_nothing() -> None:
    with pytest.raises(errors.UpstreamUnreachable) as caught:
        await ask(f"http://127.0.0.1:{closed_port()}")
    assert not caught.value.sent


async def test_a_backup_is_tried_when_there_is_no_connection(provider: str) -> None:
    assert await ask(f"http://127.0.0.1:{closed_port()}", provider)


async def test_an_address_that_could_not_be_reached_comes_last_for_a_while() -> None:
    clock = FakeClock(100.0)
    tried: list[str] = []
    down = {"a.test"}

    async def answer(request: httpx.Request) -> httpx.Response:
        tried.append(request.url.host)
        if request.url.host in down:
            raise httpx.ConnectTimeout("")
        return httpx.Response(200, stream=httpx.ByteStream(b'{"status":1}'))

    async with create_client(
        timeout=5, concurrency=4, transport=httpx.MockTransport(answer)
    ) as client:
        upstream = Upstream(
            client,
            urls=["http://a.test/", "http://b.test/"],
            credentials=LOGIN,
            monotonic=clock.monotonic,
            fmt=3,
            charset="utf-8",
            timeout=5,
        )
        for seconds in (10, 20, 0):
            await upstream.ask([KEY], DetailLevel.BASIC)
            clock.now += seconds
        assert tried == ["a.test", "b.test", "b.test", "a.test", "b.test"]
        tried.clear()
        down.add("b.test")
        with pytest.raises(errors.UpstreamUnreachable):
            await upstream.ask([KEY], DetailLevel.BASIC)
        assert tried == ["b.test", "a.test"]


async def test_a_backup_is_not_tried_after_an_answer(provider: str) -> None:
    with raw_server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as broken:
        with pytest.raises(errors.UpstreamUnreachable) as caught:
            await ask(broken, provider)
        assert caught.value.sent


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"?\r\n"]
)
async def test_a_connection_that_breaks_may_have_spent(answer: bytes) -> None:
    with raw_server(answer) as broken:
        with pytest.raises(errors.UpstreamUnreachable) as caught:
            await ask(broken)
        assert caught.value.sent


async def test_an_endless_answer_is_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    with (
        raw_server(head + b" " * 5_000_000) as broken,
        pytest.raises(errors.UpstreamBadAnswer, match="too long"),
    ):
        await ask(broken)


async def test_no_compressed_answer_is_asked_for() -> None:
    async with create_client(timeout=1, concurrency=1) as client:
        assert client.headers["accept-encoding"] == "identity"


async def test_a_compressed_answer_is_not_unpacked() -> None:
    body = gzip.compress(b'{"status": 1}' + b" " * 1_000_000)
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n"
    with raw_server(head + body) as bomb, pytest.raises(errors.UpstreamBadAnswer):
        await ask(bomb)


async def test_logs_hold_no_credentials_or_phones(
    provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fault(provider, "error", 4)
    with pytest.raises(errors.UpstreamBlocked):
        await ask(provider, f"http://127.0.0.1:{closed_port()}")
    assert "error 4, 'ip is blocked" in caplog.text
    assert "79990000001" not in caplog.text
    assert "psw" not in caplog.text


def add(provider: str, key: StatusKey) -> None:
    body = {"id": key.id, "phone": key.phone, "status": 0}
    httpx.post(f"{provider}/control/messages", json=body).raise_for_status()


async def delete(provider: str, key: StatusKey, fmt: int = 3) -> None:
    async with create_client(timeout=5, concurrency=4) as client:
        upstream = Upstream(
            client,
            urls=[f"{provider}/sys/"],
            credentials=LOGIN,
            monotonic=time.monotonic,
            fmt=fmt,
            charset="utf-8",
            timeout=5,
        )
        await upstream.delete(key)


@pytest.mark.parametrize("fmt", range(4))
async def test_deletes_in_every_format(provider: str, fmt: int) -> None:
    key = StatusKey(f"7999000770{fmt}", 770 + fmt)
    add(provider, key)
    await delete(provider, key, fmt)
    assert asked(provider)[-1] | {"outcome": "deleted", "via": "form"} == asked(provider)[-1]
    with pytest.raises(errors.DeleteRefused) as caught:
        await delete(provider, key, fmt)
    assert caught.value.provider_code == 5


async def test_a_deletion_that_is_answered_by_something_else_is_a_bad_answer(
    provider: str,
) -> None:
    fault(provider, "html")
    with pytest.raises(errors.UpstreamBadAnswer):
        await delete(provider, KEY)


def http(body: bytes, *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


@pytest.mark.parametrize("fmt", [2, 3])
@pytest.mark.parametrize(
    ("named", "fits"),
    [
        ({}, True),
        ({"phone": "79990000001"}, True),
        ({"phone": "+7 999 000-00-01"}, True),
        ({"phone": "89990000001"}, True),
        ({"phone": "9990000001"}, True),
        ({"phone": "79990000001", "id": 1}, True),
        ({"phone": "79990000002"}, False),
        ({"phone": "380990000001"}, False),
        ({"phone": "someone@example.com"}, False),
        ({"id": 2}, False),
        ({"phone": "79990000002", "id": 1}, False),
    ],
)
async def test_an_answer_about_another_message_is_told_to_nobody(
    fmt: int, named: dict[str, object], fits: bool
) -> None:
    fields = {"status": 1, "message": "for somebody else", **named}
    xml = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    kept = Kept(http(json.dumps(fields).encode() if fmt == 3 else f"<sms>{xml}</sms>".encode()))
    with keeping_server(kept) as server:
        if fits:
            assert (await ask(server, fmt=fmt))[KEY].fields["status"] == "1"
        else:
            with pytest.raises(errors.UpstreamBadAnswer) as caught:
                await ask(server, fmt=fmt)
            assert "about " in str(caught.value)
            assert "somebody" not in str(caught.value)


async def test_a_list_about_other_messages_is_told_to_nobody() -> None:
    keys = (KEY, StatusKey("79990000002", 2))
    rows = [{"status": 1, "id": 1, "phone": "79990000009"}, {"status": 1, "id": 3}]
    kept = Kept(http(json.dumps(rows).encode()))
    with keeping_server(kept) as server, pytest.raises(errors.UpstreamBadAnswer):
        await ask(server, keys=keys)


async def test_a_connection_that_brought_a_wrong_answer_is_not_used_again() -> None:
    """What comes next on it may be the answer to somebody else's question."""
    kept = Kept(http(b'{"status": 1, "phone": "79990000002"}') * 2)
    right = http(b'{"status": 0, "phone": "79990000001"}', b"Set-Cookie: a=" + b"x" * 4000)
    with keeping_server(kept) as server:
        async with create_client(timeout=5, concurrency=1) as client:
            upstream = Upstream(
                client,
                urls=[f"{server}/sys/"],
                credentials=LOGIN,
                monotonic=time.monotonic,
                fmt=3,
                charset="utf-8",
                timeout=5,
            )
            with pytest.raises(errors.UpstreamBadAnswer):
                await upstream.ask((KEY,), DetailLevel.FULL)
            kept.answer = right
            for _ in range(3):
                rows = await upstream.ask((KEY,), DetailLevel.FULL)
                assert rows[KEY].fields["status"] == "0"
            assert kept.connections == 2
            assert not client.cookies  # nothing of the provider's is kept and sent back


async def test_only_the_beginning_of_the_providers_words_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = json.dumps({"error": "x" * 100_000, "error_code": 9}).encode()
    with keeping_server(Kept(http(body))) as server, pytest.raises(errors.RateLimited):
        await ask(server)
    assert "x" * 200 in caplog.text
    assert len(caplog.text) < 1000


async def test_the_providers_words_are_logged_without_numbers_addresses_and_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = (
        "Duplicate: login TEAM-1, psw s3cret.+(, phone +7 (999) 000-00-01, 89990000001, a@b.example"
    )
    body = json.dumps({"error": told, "error_code": 9}).encode()
    credentials = Credentials(login="team-1", password="s3cret.+(")
    with keeping_server(Kept(http(body))) as server, pytest.raises(errors.RateLimited):
        await ask(server, credentials=credentials)
    assert "'Duplicate: login …, psw …, phone +…, …, …'" in caplog.text
