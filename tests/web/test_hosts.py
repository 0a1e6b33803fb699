"""DNS rebinding: requests for other host names reach nothing."""

from typing import Any

import pytest

from gateway.errors import HostNotAllowed
from gateway.web.http.hosts import Hosts
from tests.support.gateway import running
from tests.web.graphql.test_websocket import INIT, connected

pytestmark = pytest.mark.anyio

MESSAGE = "/v1/messages/1?phone=79990000001"
EVIL = {"host": "evil.example"}


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", MESSAGE),
        ("DELETE", MESSAGE),
        ("GET", "/graphql?query={__typename}"),
        ("POST", "/graphql"),
        ("POST", "/v1/statuses/batch"),
        ("GET", MESSAGE.replace("?", "/events?")),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
    ],
)
async def test_another_host_name_reaches_nothing_on_loopback(method: str, url: str) -> None:
    async with running() as setup:
        answer = await setup.client.request(method, url, headers=EVIL, json={})
        assert (answer.status_code, answer.json()["code"]) == (421, "HOST_NOT_ALLOWED")
        assert "GATEWAY_ALLOWED_HOSTS" in answer.json()["detail"]
        assert "evil" not in answer.text
        assert not await setup.asked()


async def test_nor_does_a_socket() -> None:
    async with running() as setup:
        headers = {"host": "evil.example", "origin": "http://evil.example"}
        async with connected(setup, headers) as socket:
            socket.put(INIT)
            assert not socket.told
            assert socket.closed is not None


@pytest.mark.parametrize("url", ["/livez", "/readyz"])
async def test_orchestrators_may_ask_by_any_name(url: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(url, headers={"host": "10.0.0.7:8080"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("names", "host", "allowed"),
    [
        (None, "localhost", True),
        (None, "LOCALHOST:8080", True),
        (None, "localhost.:8080", True),
        (None, "gateway.localhost", True),
        (None, "127.0.0.1:8080", True),
        (None, "127.8.9.10", True),
        (None, "[::1]:8080", True),
        (None, "", False),
        (None, "localhost.evil.example", False),
        (None, "127.0.0.1.evil.example", False),
        (None, "evil.example:127.0.0.1", False),
        (None, "0.0.0.0", False),
        (None, "[::1", True),
        (None, "x" * 301 + ".localhost", False),
        ({"gw.example"}, "gw.example:443", True),
        ({"gw.example"}, "GW.example.", True),
        ({"gw.example"}, "localhost", False),
        ({"gw.example"}, "evil.gw.example", False),
        ({"*"}, "anything", True),
        ({"*"}, "", True),
    ],
)
def test_names(names: set[str] | None, host: str, allowed: bool) -> None:
    hosts = Hosts(None if names is None else frozenset(names))
    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": [(b"host", host.encode())]}
    for _ in range(2):
        if allowed:
            hosts.check({**scope})
        else:
            with pytest.raises(HostNotAllowed):
                hosts.check({**scope})


def test_no_more_spellings_are_kept_than_needed() -> None:
    hosts = Hosts(None)
    for number in range(10_000):
        name = f"h{number}.localhost".encode()
        hosts.check({"type": "http", "path": "/", "headers": [(b"host", name)]})
    assert len(hosts._good) <= 64  # noqa: SLF001 - what is kept shows nowhere else
