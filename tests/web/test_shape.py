"""What REST shows of a record: all of it, the fields asked for, and what the caller may see."""

from pathlib import Path
from typing import Any

import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.model.described import as_model
from gateway.model.freshness import Answer
from gateway.model.records import StatusKey
from tests.support.callers import client
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
MESSAGE = f"/v1/messages/1?phone={PHONE}"
LOOKUP = f"/v1/hlr-lookups/2?phone={PHONE}"
BATCH = "/v1/statuses/batch"
ITEMS = [{"id": "1", "phone": PHONE}, {"id": "2", "phone": PHONE}]


@pytest.fixture(name="clients_file")
def _clients_file(tmp_path: Path) -> str:
    path = tmp_path / "clients.toml"
    without = {
        "status": {Scope.STATUS_READ},
        "content": {Scope.STATUS_READ, Scope.CONTENT_READ},
        "identity": {Scope.STATUS_READ, Scope.IDENTITY_READ},
        "all": ALL_SCOPES,
        "other": {Scope.CONTENT_READ, Scope.PROVIDER_READ, Scope.MESSAGE_DELETE},
    }
    path.write_text("".join(client(name, scopes=frozenset(has)) for name, has in without.items()))
    return str(path)


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer key of {name}"}


async def ask(setup: Setup, url: str, name: str) -> Any:  # noqa: ANN401 - JSON
    answer = await setup.client.get(url, headers=bearer(name))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("url", [MESSAGE, LOOKUP])
async def test_a_whole_record_is_that_of_its_class(url: str) -> None:
    async with running() as setup:
        shown = (await setup.client.get(url)).json()
        known = setup.state["service"].peek(StatusKey(PHONE, int(shown["id"])))
    assert known is not None
    assert known.record is not None
    model = as_model(known.record, Answer(known, 0).freshness)
    whole = model.model_dump(mode="json", by_alias=True, exclude={"history"})
    assert list(shown) == ["kind", *whole]
    for record in (shown, whole):
        del record["freshness"]
    assert shown == {"kind": known.record.kind, **whole}


async def test_fields_may_be_repeated_instead_of_joined() -> None:
    async with running() as setup:
        joined = await setup.client.get(f"{MESSAGE}&fields=state, cost.amount")
        repeated = await setup.client.get(f"{MESSAGE}&fields=cost.amount&fields=state")
    assert joined.json() == repeated.json()
    assert joined.json()["cost"] == {"amount": "3.20"}


@pytest.mark.parametrize(
    ("name", "of_message", "of_lookup"),
    [
        ("all", None, None),
        ("content", None, ["imsi", "msc"]),
        ("identity", ["text", "comment"], ["text"]),
        ("status", ["text", "comment"], ["text", "imsi", "msc"]),
    ],
)
async def test_what_a_caller_may_not_see_is_null_and_said_to_be(
    clients_file: str, name: str, of_message: list[str] | None, of_lookup: list[str] | None
) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        message, lookup = await ask(setup, MESSAGE, name), await ask(setup, LOOKUP, name)
        answer = await setup.client.post(BATCH, json={"items": ITEMS}, headers=bearer(name))
    assert message.get("hiddenFields") == of_message
    assert sorted(lookup.get("hiddenFields") or []) == sorted(of_lookup or [])
    for record, hidden in ((message, of_message), (lookup, of_lookup)):
        for field in ("text", "comment", "imsi", "msc"):
            if field in record:
                is_there = record[field] is not None
                has_one = not (field == "text" and record is lookup)
                assert is_there is (has_one and field not in (hidden or ())), field
    batch = [result["record"] for result in answer.json()["results"]]
    for record in (*batch, message, lookup):
        del record["freshness"]
    assert batch == [message, lookup]


@pytest.mark.parametrize(
    ("url", "field", "scope"),
    [
        (f"{MESSAGE}&fields=state,text", "text", "content:read"),
        (f"{MESSAGE}&fields=comment", "comment", "content:read"),
        (f"{LOOKUP}&fields=msc", "msc", "identity:read"),
    ],
)
async def test_a_field_named_needs_its_scope(
    clients_file: str, url: str, field: str, scope: str
) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        refused = [await setup.client.get(url, headers=bearer("status"))]
        body = {"items": ITEMS, "fields": ["state", field]}
        refused.append(await setup.client.post(BATCH, json=body, headers=bearer("status")))
        assert not await setup.asked()
        allowed = await ask(setup, url, "all")
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert (
            answer.json()["detail"] == f"{field} needs the scope {scope}, which the caller lacks."
        )
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]
    assert allowed[field]
    assert "hiddenFields" not in allowed


@pytest.mark.parametrize("url", [MESSAGE, LOOKUP, "/v1/messages/0"])
async def test_records_need_status_read(clients_file: str, url: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        one = await setup.client.get(url, headers=bearer("other"))
        many = await setup.client.post(BATCH, json={"items": ITEMS}, headers=bearer("other"))
        assert not await setup.asked()
    for answer in (one, many):
        assert answer.status_code == 403
        assert "status:read" in answer.json()["detail"]


async def test_callers_with_other_scopes_have_other_tags(clients_file: str) -> None:
    async with running(CLIENTS_FILE=clients_file) as setup:
        tags = {
            (await setup.client.get(MESSAGE, headers=bearer(name))).headers["etag"]
            for name in ("all", "content", "identity", "status")
        }
    assert len(tags) == 2  # a message has no identity
