"""Deleting a message at the provider."""

import logging
from pathlib import Path

import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from tests.support.callers import client
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
URL = f"/v1/messages/1?phone={PHONE}"


async def test_a_deleted_message_is_gone() -> None:
    async with running() as setup:
        assert (await setup.client.get(URL)).status_code == 200
        answer = await setup.client.delete(URL)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await setup.client.get(URL)).json()["code"] == "NOT_FOUND"
        assert [asked["outcome"] for asked in await setup.asked()] == ["ok", "deleted"]
        await setup.clock.advance(11)
        assert (await setup.client.get(URL)).json()["code"] == "NOT_FOUND"
        assert len(await setup.asked()) == 4  # in both spellings of the number


@pytest.mark.parametrize("fmt", "0123")
async def test_what_the_provider_does_not_delete_is_a_conflict(fmt: str) -> None:
    async with running(SMSC_FORMAT=fmt) as setup:
        assert (await setup.client.delete(URL)).status_code == 204
        answer = await setup.client.delete(URL)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "DELETE_REFUSED")
        assert (problem["providerCode"], problem["retryable"]) == (5, False)


async def test_a_refused_deletion_takes_nothing_away() -> None:
    async with running() as setup:
        await setup.client.get(URL)
        await setup.fault("error", 5)
        assert (await setup.client.delete(URL)).status_code == 409
        assert (await setup.client.get(URL)).json()["state"] == "DELIVERED"


@pytest.mark.parametrize(
    ("kind", "value", "status", "code"),
    [
        ("status", 503, 502, "UPSTREAM_UNREACHABLE"),
        ("html", None, 502, "UPSTREAM_BAD_ANSWER"),
        ("empty", None, 502, "UPSTREAM_BAD_ANSWER"),
        ("error", 2, 502, "UPSTREAM_AUTH_FAILED"),
        ("error", 4, 503, "UPSTREAM_BLOCKED"),
        ("error", 9, 429, "RATE_LIMITED"),
        ("error", 77, 502, "UPSTREAM_ERROR"),
    ],
)
async def test_trouble_is_told_as_for_a_question(
    kind: str, value: object, status: int, code: str
) -> None:
    async with running() as setup:
        await setup.client.get(URL)
        await setup.fault(kind, value)
        answer = await setup.client.delete(URL)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await setup.client.get(URL)).json()["state"] == "DELIVERED"


async def test_it_counts_as_a_question_about_the_message() -> None:
    async with running(MAX_WAIT="0.1") as setup:
        for _ in range(5):
            await setup.client.get(URL, headers={"cache-control": "no-cache"})
            await setup.clock.advance(1)
        answer = await setup.client.delete(URL)
        assert (answer.status_code, answer.json()["limit"]) == (429, "PER_MESSAGE")
        assert answer.headers["retry-after"] == "55"
        assert await setup.breaches() == 0


async def test_a_lookup_can_not_be_deleted() -> None:
    async with running() as setup:
        url = f"/v1/hlr-lookups/2?phone={PHONE}"
        await setup.client.get(url)
        answer = await setup.client.delete(f"/v1/messages/2?phone={PHONE}")
        assert (answer.status_code, answer.json()["code"]) == (404, "KIND_MISMATCH")
        assert (await setup.client.delete(url)).status_code == 405
        assert len(await setup.asked()) == 1


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("/v1/messages/1", "phone"),
        (f"/v1/messages/0?phone={PHONE}", "id"),
        ("/v1/messages/1?phone=x", "phone"),
    ],
)
async def test_a_bad_argument_is_named(url: str, word: str) -> None:
    async with running() as setup:
        answer = await setup.client.delete(url)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert word in answer.json()["detail"]
        assert await setup.asked() == []


async def test_a_405_names_all_methods() -> None:
    async with running() as setup:
        answer = await setup.client.put(URL)
        assert {"GET", "HEAD", "DELETE", "OPTIONS"} == set(answer.headers["allow"].split(", "))


async def test_it_needs_its_scope(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("all") + client("reader", scopes=ALL_SCOPES - {Scope.MESSAGE_DELETE}))
    async with running(CLIENTS_FILE=str(path)) as setup:
        answer = await setup.client.delete(URL, headers={"authorization": "Bearer key of reader"})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert "message:delete" in answer.json()["detail"]
        assert (await setup.client.delete(URL)).status_code == 401
        assert await setup.asked() == []
        answer = await setup.client.delete(URL, headers={"authorization": "Bearer key of all"})
        assert answer.status_code == 204


async def test_every_attempt_leaves_a_line_without_the_phone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = "gateway.web.rest.deletion"
    caplog.set_level(logging.INFO, logger=logger)
    async with running() as setup:
        await setup.client.delete(URL)
        await setup.client.delete(URL)
    told = [record.getMessage() for record in caplog.records if record.name == logger]
    assert told == [
        "delete message 1 to …01 for 127.0.0.1: DELETED",
        "delete message 1 to …01 for 127.0.0.1: DELETE_REFUSED",
    ]
    assert PHONE not in caplog.text
