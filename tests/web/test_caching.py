"""HTTP caching of records, by RFC 9110, 9111 and 9211."""

import httpx
import pytest

from gateway.web.http.caching import ASK_AGAIN, Directives, directives, matches
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
LIVE = "79990000100"
WHOLE = f"/v1/messages/100?phone={LIVE}"
STATE = f"{WHOLE}&fields=state"


async def get(setup: Setup, url: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await setup.client.get(url, headers=named)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"max-age=5", Directives(5)),
        (b'Max-Age="5" , x=1', Directives(5)),
        (b"max-age=-5", Directives()),
        (b"max-age=1234567890123", Directives(123456789)),
        (b"no-cache", Directives(ASK_AGAIN)),
        (b"no-cache, max-age=5", Directives(ASK_AGAIN)),
        (b"only-if-cached,max-stale=60", Directives(None, only_cached=True, slack=60)),
        (b"max-stale", Directives(slack=float("inf"))),
        (b"min-fresh=10", Directives(slack=-10)),
        (b"\xff=, =,,", Directives()),
    ],
)
def test_directives_are_read(sent: bytes, read: Directives) -> None:
    assert directives(sent) == read


@pytest.mark.parametrize(
    ("sent", "fits"),
    [
        (b'W/"a-1"', True),
        (b'"a-1"', True),
        (b'"b", W/"a-1"', True),
        (b"*", True),
        (b'W/"a"', False),
        (b"a-1", False),
        (b"", False),
    ],
)
def test_tags_are_compared_weakly(sent: bytes, fits: bool) -> None:
    assert matches(sent, b"a-1") is fits


async def test_what_the_caller_has_is_not_sent_again() -> None:
    async with running() as setup:
        whole = await get(setup, WHOLE)
        await setup.clock.advance(5)
        again = await get(setup, WHOLE, if_none_match=whole.headers["etag"])
        other = await get(setup, WHOLE, if_none_match='"other"')
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == whole.headers["etag"]
    assert (again.headers["age"], again.headers["cache-control"]) == ("5", "private, max-age=7")
    assert "content-length" not in again.headers
    assert "content-type" not in again.headers
    assert other.status_code == 200
    assert other.headers["vary"] == "authorization"


async def test_the_tag_changes_with_what_is_shown_and_with_nothing_else() -> None:
    async with running() as setup:
        whole, state = await get(setup, WHOLE), await get(setup, STATE)
        await setup.clock.advance(1)
        again = await get(setup, WHOLE, cache_control="no-cache")
        same = await get(setup, STATE)
        assert same.headers["age"] == "0"
        await setup.clock.advance(60)
        delivered = await get(setup, STATE)
    assert again.json()["freshness"]["observedAt"] != whole.json()["freshness"]["observedAt"]
    assert again.headers["etag"] != whole.headers["etag"]
    assert same.headers["etag"] == state.headers["etag"]
    assert delivered.json()["state"] != state.json()["state"]
    assert delivered.headers["etag"] != state.headers["etag"]


async def test_a_stale_record_has_another_tag_and_no_lifetime() -> None:
    async with running() as setup:
        fresh = await get(setup, WHOLE)
        await setup.clock.advance(20)
        await setup.fault("error", 4, times=-1)
        stale = await get(setup, WHOLE)
        kept = await get(setup, STATE)
    assert stale.json()["freshness"]["staleReason"] == "UPSTREAM_BLOCKED"
    assert stale.headers["etag"] != fresh.headers["etag"]
    assert stale.headers["cache-control"] == "private, max-age=0"
    assert stale.headers["age"] == "20"
    assert stale.headers["cache-status"].startswith("smsc-gateway; fwd=stale; ttl=-")
    assert stale.headers["cache-status"].endswith("; detail=UPSTREAM_BLOCKED")
    assert kept.status_code == 200


async def test_the_cache_tells_what_it_did() -> None:
    async with running() as setup:
        told = [(await get(setup, STATE)).headers["cache-status"]]
        for pause, sent in [(1, ""), (1, "no-cache"), (1, "max-age=1"), (1, "max-age=0"), (20, "")]:
            await setup.clock.advance(pause)
            told.append((await get(setup, STATE, cache_control=sent)).headers["cache-status"])
        whole = await get(setup, WHOLE)
    assert told == [
        "smsc-gateway; fwd=miss; ttl=12; stored",
        "smsc-gateway; hit; ttl=11",
        "smsc-gateway; fwd=request; ttl=12; stored",
        "smsc-gateway; hit; ttl=11",
        "smsc-gateway; fwd=request; ttl=12; stored",
        "smsc-gateway; fwd=stale; ttl=12; stored",
    ]
    assert whole.headers["cache-status"] == "smsc-gateway; fwd=miss; ttl=12; stored"


async def test_no_cache_beyond_the_budget_is_told_the_newest_known_at_once() -> None:
    """No time passes here: nobody waits for a budget that will not be there in time."""
    async with running() as setup:
        for _ in range(5):
            assert (await get(setup, STATE, cache_control="no-cache")).status_code == 200
        spent = await get(setup, WHOLE, cache_control="no-cache")
        kept = await get(setup, f"{WHOLE}&fields=state,freshness.staleReason,freshness.stale")
        assert len(await setup.asked()) == 5
        assert await setup.breaches() == 0
    assert spent.status_code == 200
    freshness = spent.json()["freshness"]
    assert (freshness["stale"], freshness["staleReason"]) == (True, "RATE_LIMITED")
    assert spent.headers["cache-status"] == "smsc-gateway; hit; ttl=12; detail=RATE_LIMITED"
    assert spent.headers["cache-control"] == "private, max-age=0"
    assert kept.json()["freshness"] == {"stale": False, "staleReason": None}


async def test_only_if_cached_never_asks() -> None:
    async with running() as setup:
        lost = await get(setup, STATE, cache_control="only-if-cached")
        assert not await setup.asked()
        await get(setup, STATE)
        found = await get(setup, STATE, cache_control="only-if-cached")
        await setup.clock.advance(20)
        old = await get(setup, STATE, cache_control="only-if-cached")
        taken = await get(
            setup, f"{STATE},freshness.stale", cache_control="only-if-cached, max-stale=60"
        )
        assert len(await setup.asked()) == 1
    assert [lost.status_code, found.status_code, old.status_code] == [504, 200, 504]
    assert (lost.json()["code"], lost.json()["retryable"]) == ("NOT_CACHED", False)
    assert (taken.status_code, taken.json()["freshness"]) == (200, {"stale": True})
    assert taken.headers["cache-control"] == "private, max-age=0"


async def test_min_fresh_wants_more_than_is_left() -> None:
    async with running() as setup:
        await get(setup, STATE)
        await setup.clock.advance(8)
        await get(setup, STATE, cache_control="min-fresh=3")
        assert len(await setup.asked()) == 1
        await get(setup, STATE, cache_control="min-fresh=10")
        assert len(await setup.asked()) == 2


async def test_head_tells_all_but_the_body() -> None:
    async with running() as setup:
        await get(setup, WHOLE)
        whole = await get(setup, WHOLE)
        head = await setup.client.head(WHOLE)
    assert head.content == b""
    for name in ("etag", "content-length", "content-type", "cache-control", "age"):
        assert head.headers[name] == whole.headers[name]
