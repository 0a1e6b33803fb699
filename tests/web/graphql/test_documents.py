"""What a document may be: its size, its hash, and who may send which."""

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query

from gateway.settings import SettingsError
from gateway.web.graphql.documents import (
    CACHE_BYTES,
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_TOKENS,
    Documents,
)
from gateway.web.graphql.errors import RequestRefused
from gateway.web.graphql.schema import create_schema
from gateway.web.graphql.trusted import read_trusted
from tests.support.gateway import Setup, running
from tests.support.size import size, soak

pytestmark = pytest.mark.anyio

SCHEMA = create_schema()
QUERY = '{ message(id: 1, phone: "79990000001") { state } }'
OTHER = '{ message(id: 1, phone: "79990000001") { isFinal } }'
ANSWER = {"data": {"message": {"state": "DELIVERED"}}}
HASH = hashlib.sha256(QUERY.encode()).hexdigest()
PHONE = "79990000001"
KEY = {"id": "1", "phone": PHONE}
WHOLE = (
    "phone type isFinal lastStatusTime sentAt sender text error { code category permanent } "
    "providerStatus { code name text } cost { amount currency } freshness { source stale }"
)


def nested(depth: int) -> str:
    """A chain of fields, as the introspection allows it."""
    inner = "{ name }"
    for _ in range(depth - 3):
        inner = f"{{ ofType {inner} }}"
    return f"{{ __schema {{ types {inner} }} }}"


def aliased(number: int) -> str:
    return "{ " + " ".join(f"a{n}: __typename" for n in range(number)) + " }"


def fragments(number: int) -> str:
    """A document that grows twofold with each fragment when it is written out."""
    spreads = " ".join(
        f"fragment F{n} on Message {{ ...F{n + 1} ...F{n + 1} }}" for n in range(number)
    )
    return f"""{{ message(id: 1, phone: "1") {{ ...F0 }} }} {spreads}
      fragment F{number} on Message {{ a: id b: id }}"""


def chain(number: int) -> str:
    spreads = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(number))
    return f"{{ ...F0 }} {spreads} fragment F{number} on Query {{ __typename }}"


def record(selections: str, more: str = "") -> str:
    return f'{{ message(id: 1, phone: "79990000001") {{ {selections} }} }} {more}'


INTROSPECTED = "{ types { name fields { name args { name type { name } } type { name } } } }"
DESCRIBED = """name description fields { name description args { name description
    type { name ofType { name ofType { name } } } } type { name ofType { name } } }"""

LARGE = {
    "equal fields": record("providerStatus { code } " * 1000),
    "equal fields, a few": record("providerStatus { code } " * 100),
    "equal selections at the root": "{ " + 'message(id: 1, phone: "7") { id } ' * 800 + "}",
    "inline fragments": record("... on Message { id } " * 800),
    "many fragments": record(
        " ".join(f"...F{n}" for n in range(90)),
        " ".join(f"fragment F{n} on Message {{ id state }}" for n in range(90)),
    ),
    "hundreds of fragments": record(
        " ".join(f"...F{n}" for n in range(600)),
        " ".join(f"fragment F{n} on Message {{ a{n}: id }}" for n in range(600)),
    ),
    "hundreds of spreads": record("...F " * 2600, "fragment F on Message { id }"),
    "an unused fragment": record("id", f"fragment F on Message {{ {'id ' * 1000} }}"),
    "introspection again and again": "{ "
    + " ".join(f"a{n}: __schema {INTROSPECTED}" for n in range(50))
    + " }",
    "introspection with all that is written of it": "{ "
    + " ".join(f"a{n}: __schema {{ types {{ {DESCRIBED} }} }}" for n in range(20))
    + " }",
    "introspection of a type in a variable": "query($n: String!) { "
    + " ".join(f"a{n}: __type(name: $n) {{ {DESCRIBED} }}" for n in range(20))
    + " }",
    "descriptions alone": "{ __schema { "
    + " ".join(f"a{n}: types {{ description fields {{ description }} }}" for n in range(50))
    + " } }",
    "introspection in width": "{ __schema { "
    + " ".join(f"a{n}: {INTROSPECTED[1:-1]}" for n in range(50))
    + " } }",
    "fields": record("id " * 10 + " ".join(f"a{n}: state" for n in range(40)) + " text" * 2500),
    "operations": " ".join(f"query Q{n} {{ __typename }}" for n in range(2000)),
    "variables": f"query({' '.join(f'$v{n}: Int' for n in range(2000))}) {{ __typename }}",
    "text": f'{{ message(id: 1, phone: "{"7" * 1_000_000}") {{ id }} }}',
    "comment": "#" + "x" * 1_000_000 + "\n" + QUERY,
    "tokens": "{" + " __typename" * MAX_TOKENS + "}",
    "10,000 items": "{ statuses(items: [" + '{id: 1, phone: "1"} ' * 10_000 + "]) { id } }",
    "30 deep": nested(30),
    "a thousand deep": "{ a" * 1000 + " }" * 1000,
    "100 aliases": aliased(100),
    "aliases in fragments": fragments(6),
    "as many in fragments as nobody can count": fragments(60),
    "fragments in each other": chain(1500),
    "records": "{ " + " ".join(
        f'a{n}: statuses(items: [{", ".join(["{id: 1, phone: 1}"] * 600)}]) {{ id }}'.replace(
            "phone: 1", 'phone: "79990000001"'
        )
        for n in range(2)
    ) + " }",
}  # fmt: skip


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
@pytest.mark.parametrize("name", LARGE)
async def test_an_operation_too_large_is_a_400_for_everybody(name: str, accept: str) -> None:
    async with running() as setup:
        answer = await setup.client.post(
            "/graphql", json={"query": LARGE[name]}, headers={"accept": accept}
        )
        assert await setup.asked() == []
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (400, "QUERY_TOO_COMPLEX")
    assert error["extensions"] == {
        "code": "QUERY_TOO_COMPLEX",
        "status": 400,
        "retryable": False,
        "retryAfter": None,
        "providerCode": None,
    }


async def test_fragments_are_read_once_however_often_they_are_spread() -> None:
    """Written out, this one has 2 to the power of 60 fields."""
    query = fragments(60).replace("a: id b: id", "id").replace('phone: "1"', f'phone: "{PHONE}"')
    async with running() as setup:
        assert await setup.graphql(query) == {"data": {"message": {"id": "1"}}}


async def test_what_is_just_within_the_bounds_is_answered() -> None:
    many = " ".join('{id: 1, phone: "79990000001"}' for _ in range(1000))
    async with running() as setup:
        for query in (
            nested(MAX_DEPTH),
            aliased(MAX_ALIASES),
            f"{{ statuses(items: [{many}]) {{ outcome }} }}",
        ):
            assert "errors" not in await setup.graphql(query)


@pytest.mark.parametrize(("each", "code"), [(501, "QUERY_TOO_COMPLEX"), (500, None)])
async def test_records_are_counted_in_variables_as_well(each: int, code: str | None) -> None:
    query = """query Q($a: [StatusKey!]!, $b: [StatusKey!]!) {
      a: statuses(items: $a) { outcome } b: statuses(items: $b) { outcome }
    }"""
    async with running() as setup:
        answer = await setup.graphql(query, a=[KEY] * each, b=[KEY] * each)
    assert [error["extensions"]["code"] for error in answer.get("errors", [])] == [code] * bool(
        code
    )


async def test_ten_thousand_items_are_told_what_is_wrong() -> None:
    query = "query Q($items: [StatusKey!]!) { statuses(items: $items) { id } }"
    async with running() as setup:
        answer = await setup.graphql(query, items=[KEY] * 10_000)
    (error,) = answer["errors"]
    assert error["message"] == "items may hold at most 1000; there are 10000."
    assert (answer["data"], error["extensions"]["code"]) == (None, "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", sorted(LARGE.keys() - {"records"}))
def test_what_was_refused_is_refused_again_without_being_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = Documents(SCHEMA)
    with pytest.raises(RequestRefused) as first:
        documents.find(LARGE[name], None)
    monkeypatch.setattr("gateway.web.graphql.documents.parse", None)
    with pytest.raises(RequestRefused) as again:
        documents.find(LARGE[name], None)
    assert again.value.errors == first.value.errors or len(LARGE[name]) > MAX_LENGTH
    assert (again.value.status, again.value.fixed) == (400, True)


def test_a_mistake_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents(SCHEMA)
    for _ in range(2):
        with pytest.raises(RequestRefused) as caught:
            documents.find("{ nonsense }", None)
        assert caught.value.errors[0].message.startswith("Cannot query field 'nonsense'")
        monkeypatch.setattr("gateway.web.graphql.documents.parse", None)


WITHIN = {
    "what tools ask": get_introspection_query(input_value_deprecation=True),
    "fifty types": "{ "
    + " ".join(f'a{n}: __type(name: "Message") {{ {DESCRIBED} }}' for n in range(10))
    + " ".join(f'b{n}: __type(name: "Money") {{ name description }}' for n in range(40))
    + " }",
    "all that is written of the schema": f"{{ __schema {{ types {{ {DESCRIBED} }} }} }}",
    "a type that there is not": '{ __type(name: "Nothing") { name nothing: kind } }',
    "fifty messages": "{ "
    + " ".join(f'a{n}: message(id: {n + 1}, phone: "{PHONE}") {{ id {WHOLE} }}' for n in range(50))
    + " }",
    "a thousand keys": "{ statuses(items: ["
    + " ".join(f'{{id: {n + 1}, phone: "{PHONE}"}}' for n in range(1000))
    + f"]) {{ record {{ {WHOLE} }} }} }}",
    "twenty components": record(
        " ".join(f"...F{n}" for n in range(20)),
        " ".join(f"fragment F{n} on Message {{ {WHOLE} }}" for n in range(20)),
    ),
    "equal fields": record("providerStatus { code } " * 30),
}


@pytest.mark.parametrize("name", WITHIN)
def test_honest_documents_are_within_the_bounds(name: str) -> None:
    assert Documents(SCHEMA).find(WITHIN[name], None).operation(None).type_name == "query"


def work(text: str) -> int:
    """Steps of Python that parsing, measuring and validating a document takes."""
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        Documents(SCHEMA).find(text, None)
    except RequestRefused:
        pass
    finally:
        sys.setprofile(None)
    return steps


def odd(chance: random.Random) -> str:
    """A document of few shapes, each as often as the bounds allow or a little more."""
    names = ["id", "state", "text", "providerStatus { code name }", "cost { amount }", "... { id }"]
    some = chance.sample(names, chance.randint(1, len(names)))
    body = " ".join(chance.choices(some, k=chance.choice([5, 30, 80, 120, 400, 1200])))
    number = chance.choice([1, 5, 30, 90])
    spreads = " ".join(f"...F{n}" for n in range(number))
    parts = [
        record(body),
        record(spreads, " ".join(f"fragment F{n} on Message {{ {body} }}" for n in range(number))),
        "{ "
        + " ".join(f'message(id: 1, phone: "7") {{ {body[:200]} }}' for _ in range(number))
        + "}",
        "{ " + " ".join(f'a{n}: message(id: 1, phone: "7") {{ id }}' for n in range(number)) + " }",
        " ".join(f"query Q{n} {{ {QUERY[1:-1]} }}" for n in range(number)),
        "{ __schema { types { " + "ofType { " * number + "name" + " }" * number + " } } }",
        f"{{ statuses(items: [{' '.join(['{id: 1, phone: 1}'] * number * 10)}]) {{ outcome }} }}",
    ]
    return chance.choice(parts)


@soak
def test_no_document_costs_much_more_than_the_largest_honest_one() -> None:
    honest = max(map(work, WITHIN.values()))
    for seed in range(size(small=60, whole=2_500)):
        text = odd(random.Random(seed))
        assert work(text) < 3 * honest, text


HUGE = "1" * 4301


@pytest.mark.parametrize(
    "query",
    [
        f'{{ message(id: {HUGE}, phone: "{PHONE}") {{ id }} }}',
        f'{{ message(id: 1, phone: "{PHONE}", maxAge: {HUGE}) {{ id }} }}',
        f'{{ statuses(items: [{{id: {HUGE}, phone: "{PHONE}"}}]) {{ outcome }} }}',
        f'query($a: Int = {HUGE}) {{ message(id: 1, phone: "{PHONE}", maxAge: $a) {{ id }} }}',
        f'query($a: ID = {HUGE}) {{ message(id: $a, phone: "{PHONE}") {{ id }} }}',
        f'{{ message(id: 1, phone: "{PHONE}", maxAge: 1{"0" * 400}.0e999) {{ id }} }}',
    ],
)
async def test_a_number_of_any_length_is_a_mistake_of_the_caller(query: str) -> None:
    async with running() as setup:
        answer = await setup.client.post("/graphql", json={"query": query})
    told = answer.json()
    results = (told.get("data") or {}).get("statuses")
    codes = {error["extensions"]["code"] for error in told.get("errors", ())}
    assert codes == {"INVALID_ARGUMENT"} or results == [{"outcome": "INVALID"}]


@pytest.mark.parametrize("name", ["id", "maxAge"])
async def test_nor_is_one_in_a_variable(name: str) -> None:
    query = "query($id: ID!, $maxAge: Int) { message(id: $id, phone: 1, maxAge: $maxAge) { id } }"
    query = query.replace("phone: 1", f'phone: "{PHONE}"')
    body = json.dumps({"query": query, "variables": {"id": "1", name: 1}}).replace(
        ": 1}", f": {HUGE}}}"
    )
    async with running() as setup:
        headers = {"content-type": "application/json"}
        answer = await setup.client.post("/graphql", content=body, headers=headers)
    assert b"INTERNAL" not in answer.content
    assert answer.status_code in {200, 400}


async def test_without_introspection_no_mistake_names_what_there_is() -> None:
    wrong = [
        "{ mesage(id: 1) { id } }",
        record("stat"),
        "query($p: Strin) { __typename }",
        record("... on Mesage { id }"),
        'subscription { status(id: 1, phone: "7", until: REED) { id } }',
        "{ message(idd: 1) { id } }",
    ]
    async with running(GRAPHQL_INTROSPECTION="false") as setup:
        for query in wrong:
            answer = await setup.client.post("/graphql", json={"query": query})
            assert answer.json()["errors"], query
            assert "Did you mean" not in answer.text, query


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{ message(id: $id, phone: 7) { id } }", "Variable '$id' is not defined."),
        ("query($a: Int) { __typename }", "Variable '$a' is never used."),
        (
            "query($a: Int) { message(id: 1, phone: $a) { id } }",
            "Variable '$a' of type 'Int' used in position expecting type 'String!'.",
        ),
    ],
)
def test_variables_are_checked_wherever_there_is_one(text: str, mistake: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        Documents(SCHEMA).find(text.replace("phone: 7", f'phone: "{PHONE}"'), None)
    assert [error.message for error in refused.value.errors] == [mistake]


def test_a_document_is_read_once() -> None:
    documents = Documents(SCHEMA)
    assert documents.find(QUERY, None) is documents.find(QUERY, None)
    assert documents.find(QUERY, None) is documents.find(QUERY, HASH)


async def test_a_document_that_fills_the_cache_is_answered() -> None:
    long = f"# {'x' * (CACHE_BYTES - 1000)}\n{QUERY}"
    digest = hashlib.sha256(long.encode()).hexdigest()
    async with running() as setup:
        assert await setup.graphql(long) == ANSWER
        assert (await ask(setup, {"query": long, **persisted(digest)})).json() == ANSWER
        assert (await ask(setup, persisted(digest))).json() == ANSWER


def test_no_more_mistakes_are_told_than_anybody_reads() -> None:
    with pytest.raises(RequestRefused) as refused:
        Documents(SCHEMA).find("{ " + " ".join(f"x{n}" for n in range(500)) + " }", None)
    assert len(refused.value.errors) <= 11


async def test_the_operation_is_named_or_the_only_one() -> None:
    both = "query A { a: __typename } query B { b: __typename }"
    async with running() as setup:
        named = await setup.client.post("/graphql", json={"query": both, "operationName": "B"})
        unnamed = await setup.graphql(both)
        lost = await setup.client.post("/graphql", json={"query": both, "operationName": "C"})
    assert named.json() == {"data": {"b": "Query"}}
    assert unnamed["errors"][0]["message"] == "operationName must name one of: A, B."
    assert (
        lost.json()["errors"][0]["message"] == "operationName: the document has no operation 'C'."
    )


def persisted(digest: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}


async def ask(setup: Setup, body: dict[str, Any]) -> httpx.Response:
    return await setup.client.post("/graphql", json=body)


async def test_a_document_is_stored_by_its_hash() -> None:
    async with running() as setup:
        unknown = await ask(setup, persisted(HASH))
        stored = await ask(setup, {"query": QUERY, **persisted(HASH)})
        by_hash = await ask(setup, persisted(HASH.upper()))
        by_id = await ask(setup, {"documentId": f"sha256:{HASH}"})
        by_get = await setup.client.get(
            "/graphql", params={"extensions": json.dumps(persisted(HASH)["extensions"])}
        )
        wrong = await ask(setup, {"query": OTHER, **persisted(HASH)})
    (error,) = unknown.json()["errors"]
    assert error["message"] == "PersistedQueryNotFound"
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert stored.json() == by_hash.json() == by_id.json() == by_get.json() == ANSWER
    assert wrong.json()["errors"][0]["message"] == (
        "The hash given is not the SHA-256 of the document."
    )


@pytest.mark.parametrize(
    "extension",
    [[], {"version": 2, "sha256Hash": HASH}, {"version": 1}, {"version": 1, "sha256Hash": 1}],
)
async def test_a_malformed_hash_is_named(extension: object) -> None:
    async with running() as setup:
        answer = await ask(setup, {"extensions": {"persistedQuery": extension}})
    assert answer.status_code == 400
    assert "persistedQuery" in answer.json()["detail"]


async def test_only_trusted_documents_are_served(tmp_path: Path) -> None:
    path = tmp_path / "trusted.json"
    path.write_text(json.dumps({HASH: QUERY}))
    settings = {"TRUSTED_DOCUMENTS": str(path), "TRUSTED_DOCUMENTS_ONLY": "true"}
    async with running(**settings) as setup:
        by_hash = await ask(setup, {"documentId": f"sha256:{HASH}"})
        by_text = await ask(setup, {"query": QUERY})
        other = await ask(setup, {"query": OTHER})
        digest = hashlib.sha256(OTHER.encode()).hexdigest()
        stored = await ask(setup, {"query": OTHER, **persisted(digest)})
    assert by_hash.json() == by_text.json() == ANSWER
    for refused in (other, stored):
        code = refused.json()["errors"][0]["extensions"]["code"]
        assert code == "PERSISTED_QUERY_NOT_SUPPORTED"


async def test_trusted_documents_may_stand_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "trusted.json"
    manifest = {"format": "apollo-persisted-query-manifest", "version": 1}
    path.write_text(json.dumps({**manifest, "operations": [{"id": HASH, "body": QUERY}]}))
    async with running(TRUSTED_DOCUMENTS=str(path)) as setup:
        assert (await ask(setup, persisted(HASH))).json() == ANSWER
        assert "errors" not in (await ask(setup, {"query": OTHER})).json()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "can't be read: No such file or directory."),
        ("{", "must be JSON."),
        ("[]", "must hold an object of hashes and documents."),
        ('{"abc": "{ id }"}', "'abc' is not the SHA-256 of its document."),
        ('{"operations": [1]}', "1 is not the SHA-256 of its document."),
    ],
)
def test_a_bad_file_of_trusted_documents_is_one_sentence(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    path = tmp_path / "trusted.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"^GATEWAY_TRUSTED_DOCUMENTS: ") as error:
        read_trusted(path)
    assert str(error.value).endswith(sentence)


async def test_introspection_can_be_switched_off() -> None:
    async with running(GRAPHQL_INTROSPECTION="false") as setup:
        schema = await setup.graphql("{ __schema { queryType { name } } }")
        name = await setup.graphql("{ __typename }")
    assert "introspection" in schema["errors"][0]["message"]
    assert name == {"data": {"__typename": "Query"}}


async def test_a_request_that_comes_again_is_answered_anew() -> None:
    """Requests are kept ready; what they tell is not."""
    query = '{ message(id: 100, phone: "79990000100") { state } }'
    async with running() as setup:
        first = await setup.graphql(query)
        await setup.clock.advance(60)
        second = await setup.graphql(query)
        for number in range(300):  # more than is kept ready
            await setup.graphql("{ __typename }" + " " * 9000, number=number)
        third = await setup.graphql(query)
    assert [one["data"]["message"]["state"] for one in (first, second, third)] == [
        "QUEUED", "READ", "READ",
    ]  # fmt: skip
