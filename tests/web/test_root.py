"""The address `/`, and paths that are no address."""

from collections.abc import Mapping

import pytest

from gateway.web import pages
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("headers", [{}, {"accept": "application/json"}])
async def test_programs_are_told_the_addresses(headers: Mapping[str, str]) -> None:
    async with running() as setup:
        answer = await setup.client.get("/", headers=headers)
        told = answer.json()
        paths = [told["graphql"], told["docs"], told["openapi"]]
        paths += [one.removeprefix("GET ") for one in told["operations"] if one.startswith("GET ")]
        for path in paths:
            asked = await setup.client.get(path.replace("{id}", "1"), params={"phone": "1"})
            known_only_with_a_secret = path == "/v1/callbacks/smsc"
            assert (asked.status_code == 404) is known_only_with_a_secret
    assert answer.headers["vary"] == "accept"
    assert "/v1/messages/{id}" in paths


async def test_a_browser_is_led_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "are_built", lambda: True)
    async with running() as setup:
        answer = await setup.client.get("/", headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (303, "graphql")


async def test_a_browser_is_told_the_addresses_where_no_page_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "are_built", lambda: False)
    async with running() as setup:
        assert (await setup.client.get("/", headers=BROWSER)).json()["name"] == "smsc-gateway"


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/message/1", "/v1/messages/{id}"),
        ("/v1/messages/1/event", "/v1/messages/{id}/events"),
        ("/messages/17", "/v1/messages/{id}"),
        ("/v1/hlr/1", "/v1/hlr-lookups/{id}"),
        ("/v1/status/batch", "/v1/statuses/batch"),
        ("/graphiql", "/graphql"),
        ("/health", None),
        ("/v1/nope", None),
        ("/" + "a" * 5000, None),
    ],
)
async def test_a_wrong_path_is_no_missing_message(path: str, near: str | None) -> None:
    async with running() as setup:
        answer = await setup.client.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (404, "ROUTE_NOT_FOUND")
    hint = f" Did you mean {near}?" if near else ""
    assert problem["detail"] == f"No address has this path.{hint} GET / names them all."
    assert problem["retryable"] is False
