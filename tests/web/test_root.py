"""The address `/`, and paths that are no address."""

import re
from collections.abc import Mapping

import pytest

from gateway.web.pages import files as pages
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("headers", [{}, {"accept": "application/json"}])
@pytest.mark.parametrize("environ", [{}, {"CALLBACK_SECRET": "a-good-and-long-secret"}])
async def test_programs_are_told_the_addresses(
    headers: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    async with running(**environ) as setup:
        answer = await setup.client.get("/", headers=headers)
        told = answer.json()
        paths = [told["graphql"], told["docs"], told["openapi"], told["openapiYaml"]]
        paths += [one.removeprefix("GET ") for one in told["operations"] if one.startswith("GET ")]
        for path in paths:
            asked = await setup.client.get(path.replace("{id}", "1"), params={"phone": "1"})
            assert asked.status_code != 404
    assert answer.headers["vary"] == "accept"
    assert {"/v1/messages/{id}", "/openapi.yaml"} < set(paths)
    pushes = [one for one in told["operations"] if one.endswith("/v1/callbacks/smsc")]
    assert len(pushes) == (2 if environ else 0)


@pytest.mark.parametrize("path", ["/v1/callbacks/smsc", "/v1/callbacks/smsc/", "/v1/callback/smsc"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
async def test_where_pushes_are_off_the_setting_is_named(method: str, path: str) -> None:
    async with running() as setup:
        answer = await setup.client.request(method, path)
    assert answer.status_code == 404
    if method != "HEAD":
        problem = answer.json()
        assert problem["code"] == "ROUTE_NOT_FOUND"
        assert "Pushes are off, for GATEWAY_CALLBACK_SECRET is not set" in problem["detail"]
        assert "Did you mean" not in problem["detail"]


async def test_where_pushes_are_on_their_address_is_suggested() -> None:
    async with running(CALLBACK_SECRET="a-good-and-long-secret") as setup:
        problem = (await setup.client.get("/v1/callback/smsc")).json()
    assert "Did you mean /v1/callbacks/smsc?" in problem["detail"]


async def test_each_summary_is_clear_without_the_others() -> None:
    async with running() as setup:
        told = (await setup.client.get("/")).json()["operations"]
    assert told["GET /metrics"] == "Metrics for Prometheus"
    assert not [summary for summary in told.values() if re.search(r"\b(same|it|this)\b", summary)]


async def test_a_browser_is_led_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "are_built", lambda: True)
    async with running() as setup:
        answer = await setup.client.get("/", headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (303, "console")


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
        ("/openapi.yml", "/openapi.yaml"),
        ("/openapi", "/openapi.yaml"),
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
