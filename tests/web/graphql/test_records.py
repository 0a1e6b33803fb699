"""The archive in GraphQL: connections by Relay's specification, summaries, histories."""

from pathlib import Path
from typing import Any

import pytest

from gateway.callers.model import Scope
from gateway.model.records import LookupState, MessageState, RecordState
from tests.support.callers import client
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
KNOWN = [(1, PHONE), (3, "79990000003"), (24, "79990000024"), (100, "79990000100")]
WALK = """query Walk($filter: RecordFilter, $order: RecordOrder, $first: Int, $after: String) {
  records(filter: $filter, order: $order, first: $first, after: $after) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id } }
    nodes { id changedAt history { state source } ... on Message { text } }
  }
}"""


async def filled(setup: Setup) -> None:
    for id_, phone in KNOWN:
        await setup.message(id_, phone)
        await setup.clock.advance(1)
    archive = setup.state["archive"]
    assert archive is not None
    await archive.flush()


async def walk(setup: Setup, **variables: object) -> dict[str, Any]:
    told = await setup.graphql(WALK, **variables)
    assert "errors" not in told, told
    records: dict[str, Any] = told["data"]["records"]
    return records


async def test_a_walk_goes_from_page_to_page(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        first = await walk(setup, first=3, order="CHANGED_ASC")
        assert [one["id"] for one in first["nodes"]] == ["1", "3", "24"]
        assert [one["node"]["id"] for one in first["edges"]] == ["1", "3", "24"]
        cursors = [one["cursor"] for one in first["edges"]]
        assert first["pageInfo"] == {
            "hasNextPage": True,
            "hasPreviousPage": False,
            "startCursor": cursors[0],
            "endCursor": cursors[2],
        }
        assert first["totalCount"] == 4
        assert first["nodes"][0]["history"] == [{"state": "DELIVERED", "source": "LIVE"}]
        rest = await walk(setup, first=3, order="CHANGED_ASC", after=cursors[2])
        assert [one["id"] for one in rest["nodes"]] == ["100"]
        assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (
            False,
            True,
        )
        again = await walk(setup, first=1, order="CHANGED_ASC", after=cursors[0])
        assert [one["id"] for one in again["nodes"]] == ["3"]


async def test_an_empty_page_has_no_cursors(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        told = await walk(setup, filter={"operator": ["nobody, really"]})
        assert (told["nodes"], told["totalCount"]) == ([], 0)
        assert (told["pageInfo"]["startCursor"], told["pageInfo"]["endCursor"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('phone: "8 (999) 000-00-01"', ["1"]),
        ("id: [1, 3]", ["3", "1"]),
        ("kind: HlrLookup", []),
        ("state: [DELIVERED, QUEUED]", ["100", "1"]),
        ("stateGroup: FAILED", ["24", "3"]),
        ("isFinal: false", ["100"]),
        ("errorCode: ABSENT_SUBSCRIBER", ["24", "3"]),
        ('changedAfter: "2027-01-15T08:00:02Z"', ["100", "24"]),
        ('sentBefore: "2027-01-01T00:00:00Z"', ["24", "3", "1"]),
    ],
)
async def test_filters(given: str, expected: list[str], tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        told = await setup.graphql(f"{{ records(filter: {{{given}}}) {{ nodes {{ id }} }} }}")
        assert [one["id"] for one in told["data"]["records"]["nodes"]] == expected


async def test_null_is_as_good_as_nothing(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        told = await walk(setup, filter=None, order=None, first=None, after=None)
        assert [one["id"] for one in told["nodes"]] == ["100", "24", "3", "1"]


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("records(first: 0) { nodes { id } }", "INVALID_ARGUMENT", "first must be a number"),
        ("records(first: 1001) { nodes { id } }", "INVALID_ARGUMENT", "first must be a number"),
        ('records(after: "x") { nodes { id } }', "INVALID_ARGUMENT", "cursor must be"),
        ('records(filter: {phone: "1"}) { nodes { id } }', "INVALID_ARGUMENT", "phone must be"),
        ("records(filter: {state: NEW}) { nodes { id } }", "INVALID_ARGUMENT", "Value 'NEW'"),
        (
            " ".join(f"a{n}: recordSummary {{ total }}" for n in range(11)),
            "QUERY_TOO_COMPLEX",
            "The operation asks for 1100 records",
        ),
        (
            " ".join(f"a{n}: records(first: 500) {{ nodes {{ id }} }}" for n in range(3)),
            "QUERY_TOO_COMPLEX",
            "The operation asks for 1500 records",
        ),
    ],
)
async def test_what_is_wrong_is_named(query: str, code: str, said: str, tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        told = await setup.graphql(f"{{ {query} }}")
        (error,) = told["errors"]
        assert error["extensions"]["code"] == code
        assert error["message"].startswith(said)


async def test_what_is_counted_costs_as_much_as_a_hundred_records(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        for first, is_refused in ((900, False), (901, True)):
            query = f"{{ records(first: {first}) {{ ...C }} }}"
            query += " fragment C on RecordConnection { totalCount }"
            assert ("errors" in await setup.graphql(query)) is is_refused


async def test_the_summary_is_rests(tmp_path: Path) -> None:
    query = """{ recordSummary(filter: {kind: Message}) {
      total byState { state count } byErrorCode { errorCode count failed }
      deliverySeconds { count p50 over { seconds share } } coverage { asked firstSeenAt }
      perHour { hour sent delivered failed } } }"""
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        told = (await setup.graphql(query))["data"]["recordSummary"]
        rest = (await setup.client.get("/v1/records/summary?kind=Message")).json()
    assert (told["total"], told["byState"]) == (rest["total"], rest["byState"])
    assert told["perHour"] == rest["perHour"]
    over = {str(one["seconds"]): one["share"] for one in told["deliverySeconds"]["over"]}
    assert over == rest["deliverySeconds"]["over"]


async def test_where_it_is_off_the_history_is_an_error_and_the_rest_is_told() -> None:
    query = f'{{ message(id: 1, phone: "{PHONE}") {{ state changedAt history {{ at }} }} }}'
    many = (
        f'{{ statuses(items: [{{id: 1, phone: "{PHONE}"}}, {{id: 9, phone: "{PHONE}"}}]) '
        "{ outcome record { history { at } } } }"
    )
    async with running() as setup:
        told = await setup.graphql(query)
        assert told["data"]["message"] == {
            "state": "DELIVERED",
            "changedAt": "2027-01-15T08:00:00Z",
            "history": None,
        }
        (error,) = told["errors"]
        assert (error["extensions"]["code"], error["path"]) == (
            "ARCHIVE_OFF",
            ["message", "history"],
        )
        told = await setup.graphql(many)
        assert [one["outcome"] for one in told["data"]["statuses"]] == ["FOUND", "NOT_FOUND"]
        assert [error["extensions"]["code"] for error in told["errors"]] == ["ARCHIVE_OFF"]
        for field in ("records { nodes { id } }", "recordSummary { total }"):
            told = await setup.graphql(f"{{ {field} }}")
            assert told["errors"][0]["extensions"]["code"] == "ARCHIVE_OFF"


async def test_what_scopes_hide_stays_hidden(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(
        client("lists", scopes=frozenset({Scope.STATUS_READ, Scope.RECORD_LIST}))
        + client("reads", scopes=frozenset({Scope.STATUS_READ}))
    )
    environ = {"STATE_DIR": str(tmp_path), "CLIENTS_FILE": str(path), "ARCHIVE_CONTENT": "true"}
    async with running(**environ) as setup:
        for name, codes in (("lists", ["FORBIDDEN"]), ("reads", ["FORBIDDEN"])):
            setup.client.headers["authorization"] = f"Bearer key of {name}"
            await setup.message(1, PHONE)
            archive = setup.state["archive"]
            assert archive is not None
            await archive.flush()
            told = await setup.graphql("{ records { nodes { id ... on Message { text } } } }")
            assert [error["extensions"]["code"] for error in told["errors"]] == codes
            seen = told["data"] and told["data"]["records"]["nodes"]
            assert seen == ([{"id": "1", "text": None}] if name == "lists" else None)


def test_a_state_of_either_kind_is_one_of_both() -> None:
    assert {*map(str, RecordState)} == {*map(str, MessageState), *map(str, LookupState)}
