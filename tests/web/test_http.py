"""HTTP itself, for all addresses alike: methods, media types, lengths, codings, other sites."""

import gzip
from typing import Any

import pytest
from starlette.types import Message

from gateway.web.http.body import MAX_BODY_BYTES
from gateway.web.http.compression import takes_gzip
from gateway.web.http.methods import MAX_QUERY_BYTES
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
MESSAGE = f"/v1/messages/1?phone={PHONE}"
BATCH = "/v1/statuses/batch"
ITEMS = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(5)]
APP = "https://app.example.com"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/messages/1", "GET, DELETE, HEAD, OPTIONS"),
        ("/v1/hlr-lookups/1", "GET, HEAD, OPTIONS"),
        ("/v1/messages/1/events", "GET, HEAD, OPTIONS"),
        (BATCH, "POST, OPTIONS"),
    ],
)
async def test_methods_are_told(path: str, allow: str) -> None:
    async with running() as setup:
        told = await setup.client.options(path)
        refused = await setup.client.patch(path)
    assert (told.status_code, told.headers["allow"], told.content) == (204, allow, b"")
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("", 200),
        ("application/*", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/problem+json", 200),
        ("text/html", 406),
        ("application/json;q=0, application/problem+json;q=0, */*", 406),
        ("application/json;q=x", 406),
    ],
)
async def test_media_types_are_negotiated(accept: str, status: int) -> None:
    async with running() as setup:
        answers = [
            await setup.client.get(MESSAGE, headers={"accept": accept}),
            await setup.client.post(BATCH, json={"items": []}, headers={"accept": accept}),
        ]
    for answer in answers:
        assert answer.status_code == status
        if status == 406:
            assert answer.json()["code"] == "NOT_ACCEPTABLE"


async def test_what_is_too_long_is_refused() -> None:
    async with running() as setup:
        query = await setup.client.get(f"{MESSAGE}&x={'y' * MAX_QUERY_BYTES}")
        body = await setup.client.post(
            BATCH,
            content=b" " * (MAX_BODY_BYTES + 1),
            headers={"content-type": "application/json"},
        )
        assert not await setup.asked()
    assert (query.status_code, query.json()["code"]) == (414, "URI_TOO_LONG")
    assert (body.status_code, body.json()["code"]) == (413, "CONTENT_TOO_LARGE")


async def test_a_body_of_another_type_is_told_what_to_send() -> None:
    async with running() as setup:
        form = await setup.client.post(BATCH, data={"items": "1"})
    assert (form.status_code, form.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert form.headers["accept-post"] == "application/json"


@pytest.mark.parametrize(
    "path", [MESSAGE, BATCH, "/livez", "/nowhere", "/metrics", "/openapi.json"]
)
async def test_every_answer_is_what_it_says(path: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", [BATCH, "/nowhere", "/v1/messages/0", "/graphql"])
async def test_a_problem_is_safe_to_open(path: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(path)
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["content-security-policy"] == policy


async def test_pages_keep_their_own_policy() -> None:
    async with running() as setup:
        answer = await setup.client.get("/docs")
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(answer.headers.get_list("content-security-policy")) == 1


@pytest.mark.parametrize(
    ("sent", "takes"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"*", True),
        (b"", False),
        (b"br", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.1, identity", False),
    ],
)
def test_who_takes_gzip(sent: bytes, takes: bool) -> None:
    assert takes_gzip(sent) is takes


async def test_long_answers_are_compressed() -> None:
    query = "{ statuses(items: [%s]) { record { id phone text sender } problem { title } } }"
    items = ", ".join(f'{{id: {one["id"]}, phone: "{one["phone"]}"}}' for one in ITEMS * 10)
    async with running() as setup:
        for url, body, few in (
            (BATCH, {"items": ITEMS}, {"items": []}),
            ("/graphql", {"query": query % items}, {"query": "{ __typename }"}),
        ):
            await setup.client.post(url, json=body)
            plain = await setup.client.post(url, json=body, headers={"accept-encoding": "br"})
            packed = await setup.client.post(url, json=body, headers={"accept-encoding": "gzip"})
            short = await setup.client.post(url, json=few)
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < len(plain.content) / 2
            assert packed.json() == plain.json()
            assert "content-encoding" not in short.headers


async def test_very_long_answers_are_compressed_as_well() -> None:
    async with running() as setup:
        items = [{"id": "0", "phone": "1"}] * 1000
        answer = await setup.client.post(BATCH, json={"items": items})
        raw = await setup.client.send(
            setup.client.build_request(
                "POST", BATCH, json={"items": items}, headers={"accept-encoding": "gzip"}
            ),
            stream=True,
        )
        packed = b"".join([chunk async for chunk in raw.aiter_raw()])
    assert gzip.decompress(packed) == answer.content


async def test_without_the_setting_no_other_site_may_ask() -> None:
    async with running() as setup:
        answer = await setup.client.get(MESSAGE, headers={"origin": APP})
        asked = {"origin": APP, "access-control-request-method": "GET"}
        preflight = await setup.client.options(MESSAGE, headers=asked)
    for one in (answer, preflight):
        assert not [name for name in one.headers if name.startswith("access-control")]


async def test_sites_that_are_named_may_ask() -> None:
    async with running(CORS_ORIGINS=f"https://other.example.com, {APP}") as setup:
        asked = {
            "origin": APP,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "authorization,if-none-match,last-event-id",
        }
        preflight = await setup.client.options(MESSAGE, headers=asked)
        answer = await setup.client.get(MESSAGE, headers={"origin": APP})
        lost = await setup.client.get("/v1/messages/0", headers={"origin": APP})
        foreign = await setup.client.get(MESSAGE, headers={"origin": "https://evil.example.com"})
    assert preflight.status_code == 200
    for one in (preflight, answer, lost):
        assert one.headers["access-control-allow-origin"] == APP
    assert "etag" in answer.headers["access-control-expose-headers"].lower()
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-origin" not in foreign.headers


async def test_any_site_may_ask_where_the_setting_says_so() -> None:
    async with running(CORS_ORIGINS="*") as setup:
        answer = await setup.client.get(MESSAGE, headers={"origin": APP})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "origins", "is_let_in"),
    [
        (None, "", True),
        ("http://gateway.localhost", "", True),
        (APP, "", False),
        (APP, APP, True),
        ("https://evil.example.com", APP, False),
        ("https://evil.example.com", "*", True),
    ],
)
async def test_sockets_are_open_to_the_same_sites(
    origin: str | None, origins: str, is_let_in: bool
) -> None:
    sent: list[Message] = []
    coming: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"gateway.localhost")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    async with running(**({"CORS_ORIGINS": origins} if origins else {})) as setup:
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/graphql",
            "query_string": b"",
            "headers": headers,
            "subprotocols": ["graphql-transport-ws"],
            "client": ("127.0.0.1", 1),
            "state": dict(setup.state),
        }
        await setup.app(scope, receive, send)
    assert (sent[0]["type"] == "websocket.accept") is is_let_in
