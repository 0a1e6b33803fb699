"""No page of another site steers the simulator."""

import re

import httpx
import pytest

from gateway.simulator import create_simulator, sample_world
from tests.support.clock import START

pytestmark = pytest.mark.anyio

BODY = b'{"seconds": 0}'
JSON = {"content-type": "application/json"}


async def sent(
    headers: dict[str, str], *, is_local: bool = True, path: str = "latency", body: bytes = BODY
) -> int:
    app = create_simulator(sample_world(lambda: START), is_local=is_local)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
        answer = await client.post(f"/control/{path}", content=body, headers=headers)
    return answer.status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (JSON, 204),
        ({"content-type": "application/json; charset=utf-8"}, 204),
        (JSON | {"host": "localhost:8081"}, 204),
        (JSON | {"host": "[::1]:8081"}, 204),
        (JSON | {"origin": "http://127.0.0.1:8081"}, 204),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        (JSON | {"host": "evil.example"}, 421),
        (JSON | {"host": "127.0.0.1.evil.example"}, 421),
        (JSON | {"origin": "http://evil.example"}, 403),
        (JSON | {"origin": "null"}, 403),
        (JSON | {"origin": "http://127.0.0.1:9999"}, 403),
        (JSON | {"sec-fetch-site": "cross-site"}, 403),
    ],
)
async def test_who_may_steer(headers: dict[str, str], status: int) -> None:
    assert await sent(headers) == status


async def test_beyond_loopback_any_name_will_do() -> None:
    assert await sent(JSON | {"host": "provider.internal"}, is_local=False) == 204


async def test_a_post_without_a_body_needs_no_type_but_its_own_site() -> None:
    assert await sent({}, path="reset", body=b"") == 204
    assert await sent({"origin": "http://evil.example"}, path="reset", body=b"") == 403


async def test_the_page_may_load_nothing_and_stand_in_no_other() -> None:
    app = create_simulator(sample_world(lambda: START), is_local=True)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        page = await client.get("/")
        lost = await client.get("/", headers={"host": "evil.example"})
        asked = await client.get("/sys/balance.php", headers={"host": "smsc.ru"})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall("<script[^>]*>[^<]*", page.text) == ['<script src="page.js" type="module">']
    assert (lost.status_code, asked.status_code) == (421, 200)
