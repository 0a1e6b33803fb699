"""Who is let in, through the whole app; and what the refused are told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Scope

from gateway.callers.model import ALL_SCOPES
from gateway.callers.model import Scope as CallerScope
from gateway.errors import Unauthenticated
from gateway.web.http.auth import Authentication, caller_of
from gateway.web.http.front import Front
from gateway.web.http.lifetime import Lifetime
from gateway.web.http.traffic import Traffic
from tests.support.callers import callers, client
from tests.support.clock import START, FakeClock
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

FILE = (
    client("all")
    + client("status", scopes=frozenset({CallerScope.STATUS_READ}))
    + client("ended", more="expires = 2020-01-01T00:00:00Z")
    + client("slow", more="quota_per_minute = 2")
)
MESSAGE = "/v1/messages/1?phone=79990000001&fields=state"
WHOLE = "/v1/messages/1?phone=79990000001"


@pytest.fixture
def clients_file(tmp_path: Path) -> str:
    path = tmp_path / "clients.toml"
    path.write_text(FILE)
    return str(path)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_key_lets_in(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        answer = await setup.client.get(MESSAGE, headers=bearer("key of all"))
    assert answer.json()["state"] == "DELIVERED"
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "challenge", "detail"),
    [
        ({}, "", "A key is needed: send `Authorization: Bearer KEY`."),
        (
            {"authorization": "Basic YTpi"},
            "",
            "The key must be sent as `Authorization: Bearer KEY`.",
        ),
        (bearer("wrong"), ', error="invalid_token"', "The key or token is not known here."),
        (bearer("key of ended"), ', error="invalid_token"', "The key has expired."),
    ],
)
@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", MESSAGE),
        ("GET", "/v1/provider"),
        ("GET", "/metrics"),
        ("GET", "/metrics%0A"),
        ("GET", "/livez/../v1/provider"),
        ("GET", "/nowhere"),
        ("POST", "/v1/statuses/batch"),
        ("POST", "/graphql"),
        ("GET", "/graphql"),
    ],
)
async def test_without_a_right_key_nobody_is_let_in(
    clients_file: str,
    headers: dict[str, str],
    challenge: str,
    detail: str,
    method: str,
    url: str,
) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        answer = await setup.client.request(method, url, headers=headers)
        assert not await setup.asked()
    problem = answer.json()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'Bearer realm="smsc-gateway"{challenge}'
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["retryable"]) == ("UNAUTHENTICATED", False)
    assert problem["detail"] == detail
    assert problem["requestId"] == answer.headers["x-request-id"]


async def test_a_key_sent_twice_is_refused(clients_file: str) -> None:
    twice = [("authorization", "Bearer wrong"), ("authorization", "Bearer key of all")]
    async with running(CLIENTS_FILE=clients_file) as setup:
        answer = await setup.client.get(MESSAGE, headers=twice)
    assert (answer.status_code, answer.json()["detail"]) == (
        401,
        "Authorization must be sent once.",
    )


@pytest.mark.parametrize("path", ["/metrics", "/metrics%0A"])
async def test_metrics_need_their_scope(clients_file: str, path: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        refused = await setup.client.get(path, headers=bearer("key of status"))
        answer = await setup.client.get("/metrics", headers=bearer("key of all"))
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert refused.json()["detail"] == "This needs the scope provider:read, which the caller lacks."
    assert refused.headers["www-authenticate"] == (
        'Bearer realm="smsc-gateway", error="insufficient_scope", scope="provider:read"'
    )
    assert answer.status_code == 200


async def test_over_its_quota_a_caller_waits(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:

        async def get(key: str = "key of slow") -> httpx.Response:
            return await setup.client.get(MESSAGE, headers=bearer(key))

        assert (await get()).status_code == 200
        await setup.clock.advance(20)
        assert (await get()).status_code == 200
        await setup.clock.advance(0.5)
        refused = await get()
        assert (await get("key of all")).status_code == 200
        await setup.clock.advance(float(refused.headers["retry-after"]) - 1)
        assert (await get()).status_code == 429
        await setup.clock.advance(1)
        assert (await get()).status_code == 200
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["retryable"]) == (
        429,
        "QUOTA_EXCEEDED",
        True,
    )
    assert problem["retryAfter"] == int(refused.headers["retry-after"]) == 40
    assert problem["detail"] == "The caller may ask 2 times a minute."


async def test_open_addresses_need_no_key_and_cost_no_quota(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        for path in ("/livez", "/readyz", "/openapi.yaml", "/openapi.json"):
            for _ in range(3):
                answer = await setup.client.get(path, headers=bearer("key of slow"))
                assert answer.status_code == 200
            assert (await setup.client.get(path)).status_code == 200
        for path in ("/docs", "/assets/a.js", "/v1/callbacks/smsc"):
            assert (await setup.client.get(path)).status_code != 401


@pytest.mark.parametrize(
    ("method", "query", "accept", "let_in"),
    [
        ("GET", "", "text/html,*/*", True),
        ("GET", "?query={provider{inFlight}}", "text/html", False),
        ("GET", "", "application/json", False),
        ("POST", "", "text/html", False),
    ],
)
async def test_a_browser_may_open_the_page_but_ask_nothing(
    clients_file: str, method: str, query: str, accept: str, let_in: bool
) -> None:
    body = {"query": "{ provider { inFlight } }"}
    async with running(CLIENTS_FILE=clients_file) as setup:
        answer = await setup.client.request(
            method, f"/graphql{query}", headers={"accept": accept}, json=body
        )
    assert (answer.status_code != 401) is let_in
    assert '"data"' not in answer.text


async def test_wrong_keys_are_told_to_pause_and_right_ones_pass(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        answers = [await setup.client.get(MESSAGE, headers=bearer(f"wrong {n}")) for n in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 6 + [429] * 2
        assert answers[-1].headers["retry-after"] == "1"
        async with setup.client_from("198.51.100.7") as elsewhere:
            answer = await elsewhere.get(MESSAGE, headers=bearer("wrong"))
            assert answer.status_code == 401
        answer = await setup.client.get(MESSAGE, headers=bearer("key of all"))
        assert answer.status_code == 200
    assert "wrong" not in answers[0].text


async def test_without_a_file_keys_are_not_looked_at() -> None:
    async with running() as setup:
        for headers in ({}, bearer("any"), {"authorization": "Basic YTpi"}):
            assert (await setup.client.get(MESSAGE, headers=headers)).status_code == 200
        assert (await setup.client.get("/metrics")).status_code == 200


async def test_anonymous_callers_beside_those_with_keys(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file, ALLOW_ANONYMOUS="true") as setup:
        record = (await setup.client.get(WHOLE)).json()
        assert (record["text"], record["hiddenFields"]) == (None, ["text", "comment"])
        refused = [
            await setup.client.get("/metrics"),
            await setup.client.get("/metrics", headers=bearer("key of status")),
            await setup.client.delete(MESSAGE),
        ]
    assert [answer.status_code for answer in refused] == [403] * 3


async def test_strangers_get_the_scopes_that_the_setting_names(clients_file: str) -> None:
    scopes = "status:read, content:read"
    environ = {"CLIENTS_FILE": clients_file, "ALLOW_ANONYMOUS": "true", "ANONYMOUS_SCOPES": scopes}
    async with running(**environ) as setup:
        assert (await setup.client.get(WHOLE)).json()["text"] == "Код 1234, никому"
        assert (await setup.client.get("/metrics")).status_code == 403


async def test_strangers_without_scopes_may_do_nothing() -> None:
    async with running(ANONYMOUS_SCOPES="") as setup:
        answers = [
            await setup.client.get(MESSAGE),
            await setup.client.delete(MESSAGE),
            await setup.client.get("/v1/provider"),
        ]
        assert (await setup.client.get("/livez")).status_code == 200
        assert not await setup.asked()
    assert [answer.status_code for answer in answers] == [403] * 3


OTHER_SITE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
QUERY = "/graphql?query={message(id:1,phone:%2279990000001%22){state}}"


@pytest.mark.parametrize(
    "url", [MESSAGE, QUERY, "/v1/provider", f"{MESSAGE.replace('?', '/events?')}"]
)
async def test_a_page_of_another_site_spends_nothing(url: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(url, headers=OTHER_SITE)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert "GATEWAY_CORS_ORIGINS" in answer.json()["detail"]
        assert not await setup.asked()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site"},
        {**OTHER_SITE, "origin": "https://app.example.com"},
    ],
)
async def test_who_is_at_home_or_named_may_ask(headers: dict[str, str]) -> None:
    async with running(CORS_ORIGINS="https://app.example.com") as setup:
        assert (await setup.client.get(MESSAGE, headers=headers)).status_code == 200


ELSEWHERE = [
    "http://evil.test",
    "http://evil.test:80",
    "https://gateway.localhost.evil.test",
    "http://evil.gateway.localhost",
    "null",
    "",
    "file://",
    "http://[",
    "gateway.localhost",
]


@pytest.mark.parametrize("origin", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_is_known_by_its_origin_where_the_browser_tells_no_more(
    origin: str, method: str
) -> None:
    async with running() as setup:
        for url in (MESSAGE, QUERY, "/v1/provider", MESSAGE.replace("?", "/events?")):
            answer = await setup.client.request(method, url, headers={"origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
            assert "GATEWAY_CORS_ORIGINS" in answer.json()["detail"]
        assert not await setup.asked()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://gateway.localhost"},
        {"origin": "https://gateway.localhost"},
        {"origin": "http://gateway.localhost:3000"},
        {"origin": "http://GATEWAY.localhost"},
        {"origin": "http://[::1]:8080", "host": "[::1]:8080"},
        {"origin": "https://app.example.com"},
        {"origin": "http://evil.test", "sec-fetch-site": "same-origin"},
    ],
)
async def test_an_origin_of_its_own_or_named_may_ask(headers: dict[str, str]) -> None:
    async with running(CORS_ORIGINS="https://app.example.com") as setup:
        assert (await setup.client.get(MESSAGE, headers=headers)).status_code == 200


async def test_any_origin_may_ask_where_the_setting_says_so() -> None:
    async with running(CORS_ORIGINS="*") as setup:
        for origin in ELSEWHERE:
            headers = {"origin": origin}
            assert (await setup.client.get(MESSAGE, headers=headers)).status_code == 200


async def test_a_key_is_good_from_any_page(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        for page in (OTHER_SITE, {"origin": "http://evil.test"}):
            headers = {**page, **bearer("key of status")}
            assert (await setup.client.get(MESSAGE, headers=headers)).status_code == 200


async def test_pages_may_be_reached_by_a_link() -> None:
    navigated = {"sec-fetch-site": "cross-site", "accept": "text/html"}
    async with running() as setup:
        for url in ("/", "/docs", "/graphql", "/openapi.json", "/livez"):
            answer = await setup.client.get(url, headers=navigated)
            assert answer.status_code in {200, 303}


async def test_a_batch_without_its_type_is_refused() -> None:
    """A page of another site may send such a body without asking first (no preflight)."""
    async with running() as setup:
        body = b'{"items": [{"id": "1", "phone": "79990000001"}]}'
        for headers in ({}, {"content-type": "text/plain"}):
            answer = await setup.client.post("/v1/statuses/batch", content=body, headers=headers)
            assert answer.status_code == 415
        assert not await setup.asked()


class Inside:
    """An app that keeps the scopes it is called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, *_: Any) -> None:  # noqa: ANN401 - not looked at
        self.scopes.append(scope)
        await asyncio.sleep(0)


def front(app: ASGIApp, authentication: Authentication) -> Front:
    return Front(
        app,
        authentication=authentication,
        endpoints={},
        clock=FakeClock(),
        traffic=Traffic(),
        lifetime=Lifetime(),
    )


async def through(
    path: Path, headers: list[tuple[bytes, bytes]], **more: object
) -> tuple[Inside, list[Message]]:
    """What becomes of a WebSocket (or another scope) in the middleware."""
    inside, sent = Inside(), list[Message]()
    known = callers(path, FILE)
    guard = front(inside, Authentication(known, FakeClock()))

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {
        "type": "websocket",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"host", b"gateway.localhost"), *headers],
        "client": None,
        "state": {"service": 1},
        **more,
    }
    await guard(scope, receive, send)
    return inside, sent


async def test_a_websocket_may_bring_its_key_later(tmp_path: Path) -> None:
    inside, sent = await through(tmp_path / "clients.toml", [])
    assert inside.scopes[0]["state"] == {"service": 1, "caller": None}
    assert sent == []


async def test_a_websocket_with_a_key_has_a_caller(tmp_path: Path) -> None:
    key = (b"authorization", b"Bearer key of all")
    inside, _ = await through(tmp_path / "clients.toml", [key])
    caller = caller_of(inside.scopes[0])
    assert (caller.name, caller.scopes) == ("all", ALL_SCOPES)


WRONG = [(b"authorization", b"Bearer wrong")]


async def test_a_websocket_with_a_wrong_key_is_denied(tmp_path: Path) -> None:
    extensions: dict[str, object] = {"websocket.http.response": {}}
    inside, sent = await through(tmp_path / "clients.toml", WRONG, extensions=extensions)
    assert inside.scopes == []
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == 401
    assert json.loads(sent[1]["body"])["code"] == "UNAUTHENTICATED"


async def test_a_websocket_is_closed_where_it_cannot_be_denied(tmp_path: Path) -> None:
    inside, sent = await through(tmp_path / "clients.toml", WRONG)
    assert inside.scopes == []
    assert sent == [
        {
            "type": "websocket.close",
            "code": 1008,
            "reason": "Valid credentials are required",
        }
    ]


def test_where_nobody_was_asked_there_is_no_caller() -> None:
    scopes: list[Scope] = [{}, {"state": {}}, {"state": {"caller": None}}]
    for scope in scopes:
        with pytest.raises(Unauthenticated):
            caller_of(scope)


async def test_other_scopes_pass(tmp_path: Path) -> None:
    inside, _ = await through(tmp_path / "clients.toml", [], type="lifespan")
    assert "caller" not in inside.scopes[0]["state"]


async def test_requests_at_the_same_time_keep_their_callers(tmp_path: Path) -> None:
    """The lifespan's state is one for all; some servers hand out the same dict."""
    inside, state = Inside(), {"service": 1}
    known = callers(tmp_path / "clients.toml", FILE)
    guard = front(inside, Authentication(known, FakeClock(START)))

    def scope(name: str) -> Scope:
        headers = [(b"authorization", f"Bearer key of {name}".encode())]
        return {"type": "http", "path": "/v1/provider", "headers": headers, "state": state}

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await asyncio.gather(*(guard(scope(name), receive, send) for name in ("all", "status")))
    assert [caller_of(scope).name for scope in inside.scopes] == ["all", "status"]
    assert state == {"service": 1}
