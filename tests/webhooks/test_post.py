"""What is sent to an address, and what counts as an answer."""

import asyncio
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.callers.model import ALL_SCOPES, Caller, WebhookEntry
from gateway.webhooks import post as post_module
from gateway.webhooks.address import read_address
from gateway.webhooks.post import Outcome, Poster
from tests.support.receiver import OTHER_SECRET, SECRET, Receiver
from tests.support.server import closed_port, raw_server
from tests.support.tls import Authority

pytestmark = pytest.mark.anyio

BODY = '{"data":{"id":"1","state":"SENT","text":"Привет"}}'.encode()


def entry(url: str, *secrets: str) -> WebhookEntry:
    return WebhookEntry("one", url, secrets or (SECRET,), {}, Caller("billing", ALL_SCOPES))


async def sent(url: str, *secrets: str) -> Outcome:
    async with aclosing(Poster(read_address(entry(url, *secrets)))) as poster:
        return await poster.post("id-1", BODY)


async def test_it_is_signed_by_standard_webhooks(receiver: Receiver) -> None:
    outcome = await sent(receiver.url + "?token=abc")
    assert (outcome, outcome.is_delivered) == (Outcome(204), True)
    [got] = receiver.got
    assert got.body == BODY
    assert got.headers["content-type"] == "application/json"
    assert got.verified()["data"]["text"] == "Привет"
    age = datetime.now(UTC).timestamp() - int(got.headers["webhook-timestamp"])
    assert abs(age) < 120
    with pytest.raises(WebhookVerificationError):
        got.verified(OTHER_SECRET)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"SENT", b"READ"), got.headers)


async def test_while_a_secret_is_rotated_both_are_good(receiver: Receiver) -> None:
    await sent(receiver.url, SECRET, OTHER_SECRET)
    [got] = receiver.got
    assert got.verified(SECRET) == got.verified(OTHER_SECRET)
    third = "whsec_" + b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookVerificationError):
        got.verified(third)


@pytest.mark.parametrize("status", [302, 307, 400, 404, 410, 429, 500, 503])
async def test_whatever_is_not_2xx_is_a_failure(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda *_: status
    receiver.headers = {"location": receiver.url + "/elsewhere"}
    outcome = await sent(receiver.url)
    assert (outcome.status, outcome.is_delivered, str(outcome)) == (status, False, f"HTTP {status}")
    assert [one.path for one in receiver.got] == ["/sms"], "a redirect was followed"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_is_success(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda *_: status
    assert (await sent(receiver.url)).is_delivered


async def test_nobody_there_and_no_http_are_told_without_the_address() -> None:
    outcome = await sent(f"http://127.0.0.1:{closed_port()}/?token=secret")
    assert (outcome.status, str(outcome)) == (None, "ConnectError")
    with raw_server(b"what?\r\n") as url:
        outcome = await sent(f"{url}/?token=secret")
    assert (outcome.status, str(outcome)) == (None, "RemoteProtocolError")


async def test_who_says_nothing_is_not_waited_for_longer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_module, "TIMEOUT", 0.2)
    receiver.hold = threading.Event()
    outcome = await sent(receiver.url)
    receiver.hold.set()
    assert str(outcome) == "no answer within 0.2 seconds"


async def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "TIMEOUT", 10)
    with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\nx") as url:
        assert (await sent(url)).is_delivered
    with raw_server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n") as url:
        assert (await sent(url)).is_delivered


@pytest.fixture
def nobodys_tls(tmp_path: Path) -> Iterator[int]:
    """The port of a server whose certificate no authority has signed."""
    context = Authority(tmp_path, "nobody").context("localhost")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


async def test_a_certificate_of_nobodys_is_refused(nobodys_tls: int) -> None:
    outcome = await sent(f"https://localhost:{nobodys_tls}/sms")
    assert str(outcome) == "ConnectError"
    await asyncio.sleep(0)
