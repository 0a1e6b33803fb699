"""What callers are told of their mistakes: short, true, and no more than they may know."""

import json
import re
from typing import Any

import pytest
from graphql import GraphQLError, parse, validate

from gateway.errors import MAX_ECHOED
from gateway.web.graphql.documents import Documents
from gateway.web.graphql.errors import RequestRefused
from gateway.web.graphql.schema import create_schema
from gateway.web.graphql.words import MAX_MESSAGE, brief, open_selections
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.web.graphql.test_websocket import INIT, connected, subscribe

pytestmark = pytest.mark.anyio

SCHEMA = create_schema()
PHONE = 'phone: "79990000001"'
JSON = {"content-type": "application/json"}

LONG = "9" * 5000
WORD = "a" * 5000
TEXT = '"' + "a b's \\\"c " * 500 + '"'
DOCUMENTS = [
    f"{{ message(id: 1.{LONG}, {PHONE}) {{ id }} }}",
    f"{{ message(id: 1, {PHONE}, maxAge: {LONG}) {{ id }} }}",
    f"{{ message(id: 1, {PHONE}, maxAge: {TEXT}) {{ id }} }}",
    f"{{ message(id: 1, phone: {LONG}) {{ id }} }}",
    f"{{ message(id: 1, phone: [{LONG} {TEXT}]) {{ id }} }}",
    f"{{ message(id: 1, phone: {{id: {TEXT}}}) {{ id }} }}",
    f"{{ message(id: 1, {PHONE}) {{ {WORD} }} }}",
    f"{{ message(id: 1, {PHONE}, {WORD}: 1) {{ id }} }}",
    f"{{ __typename @{WORD} }}",
    f"{{ __typename @skip(if: {TEXT}) }}",
    f"{{ ...{WORD} }}",
    f"{{ ... on {WORD} {{ id }} }}",
    f"query {WORD}(${WORD}: Int) {{ __typename }}",
    f"query ($a: {WORD}) {{ message(id: $a, {PHONE}) {{ id }} }}",
    f"query ($a: Int = {TEXT}) {{ message(id: 1, {PHONE}, maxAge: $a) {{ id }} }}",
    f"{{ statuses(items: [{{id: 1, {PHONE}, {WORD}: {TEXT}}}]) {{ id }} }}",
    f"{{ statuses(items: {TEXT}) {{ id }} }}",
    f"subscription {{ status(id: 1, {PHONE}, until: {WORD}) {{ id }} }}",
    f"subscription {{ status(id: 1, {PHONE}, until: {TEXT}) {{ id }} }}",
    f"{{ {WORD}: message(id: 1, {PHONE}) {{ id }} {WORD}: message(id: 2, {PHONE}) {{ id }} }}",
    f"{WORD} {{ a }}",
    f"{{ a }} {TEXT}",
    f"{{ a(b: {LONG}x) }}",
    f"query {WORD} {{ a: __typename }} query B {{ b: __typename }}",
    " ".join(f"query {WORD[:60]}{n} {{ a: __typename }}" for n in range(90)),
    " ".join(f"fragment {WORD[:60]}{n} on Query {{ ...{WORD[:60]}{n + 1} }}" for n in range(50))
    + f" fragment {WORD[:60]}50 on Query {{ ...{WORD[:60]}0 }} {{ ...{WORD[:60]}0 }}",
]


def check_brevity(messages: list[str]) -> None:
    assert messages
    for message in messages:
        assert len(message) <= MAX_MESSAGE + 100, message
        assert not re.search(rf"a{{{MAX_ECHOED + 1}}}|9{{{MAX_ECHOED + 1}}}", message)
        assert message.count("b's") <= MAX_ECHOED // 8, message


async def told(setup: Setup, **body: object) -> list[str]:
    answer = (await setup.client.post("/graphql", content=json.dumps(body), headers=JSON)).json()
    return [error["message"] for error in answer["errors"]]


@pytest.mark.parametrize("introspection", ["true", "false"])
async def test_no_long_value_in_a_document_is_told_back(introspection: str) -> None:
    async with running(GRAPHQL_INTROSPECTION=introspection) as setup:
        for query in DOCUMENTS:
            check_brevity(await told(setup, query=query))
        check_brevity(await told(setup, query="{ __typename }", operationName=WORD))


ONE = 'query ($id: ID!, $m: Int) { message(id: $id, phone: "79990000001", maxAge: $m) { id } }'
MANY = "query ($i: [StatusKey!]!) { statuses(items: $i) { id } }"
UNTIL = f"query ($u: MessageState) {{ status(id: 1, {PHONE}, until: $u) {{ id }} }}".replace(
    "query", "subscription"
)
VARIABLES: list[tuple[str, dict[str, Any]]] = [
    (ONE, {"id": [WORD]}),
    (ONE, {"id": "1", "m": TEXT}),
    (ONE, {"id": "1", "m": [TEXT] * 20}),
    (MANY, {"i": TEXT}),
    (MANY, {"i": [{"id": "1", "phone": "7", WORD: TEXT}]}),
    (MANY, {"i": [{"id": [TEXT], "phone": LONG}]}),
    (UNTIL, {"u": WORD}),
    (UNTIL, {"u": TEXT}),
]


@pytest.mark.parametrize("introspection", ["true", "false"])
async def test_nor_is_one_in_a_variable(introspection: str) -> None:
    headers = {"accept": "text/event-stream"}
    async with running(GRAPHQL_INTROSPECTION=introspection) as setup:
        for query, variables in VARIABLES:
            body = {"query": query, "variables": variables}
            answer = await setup.client.post("/graphql", json=body, headers=headers)
            data = answer.text.split("data: ")[1].split("\n\n")[0]
            check_brevity([error["message"] for error in json.loads(data)["errors"]])


async def test_nor_is_one_over_rest() -> None:
    phone = "79990000001"
    async with running() as setup:
        post = setup.client.post
        answers = [
            await setup.message(1, phone, fields=WORD),
            await post("/v1/statuses/batch", json={"items": [], WORD: 1}),
            await post("/v1/statuses/batch", json={"items": [], "fields": [WORD]}),
            await setup.client.get(f"/v1/messages/{LONG}?phone={phone}"),
            await setup.client.get(f"/v1/messages/1?phone={LONG}"),
            await setup.client.get(f"/{WORD}"),
        ]
    for answer in answers:
        assert answer.status_code in {400, 404}
        assert len(answer.text) < 1200
        check_brevity([answer.json()["detail"]])
    assert answers[-1].json()["instance"] == "/" + "a" * 255 + "…"


async def test_nor_is_a_long_id_on_a_socket() -> None:
    live = 'subscription { status(id: 100, phone: "79990000100") { isFinal } }'
    for id_ in (WORD, "д" * 5000):
        async with running() as setup, connected(setup) as socket:
            socket.put(INIT, subscribe(id_, live), subscribe(id_, live))
            await setup.clock.advance(1)
            await settle()
        assert socket.closed is not None
        code, reason = socket.closed
        assert (code, len(reason.encode()) <= 123) == (4409, True)


def test_a_short_message_stays_as_it_is() -> None:
    for query in ("{ a }", "{ message(id: 1) { id } }", '{ statuses(items: "a") { id } }'):
        for error in validate(SCHEMA, parse(query)):
            assert brief(error.message) == error.message


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    ("query", "word"),
    [
        (f"{{ message(id: {DEEP}, {PHONE}) {{ id }} }}", "Values"),
        (f"{{ statuses(items: {DEEP}) {{ id }} }}", "Values"),
        ("{ a(b: " + "{c: " * 3000 + "1" + "}" * 3000 + ") }", "Values"),
        (f"query ($a: Int = {DEEP}) {{ __typename }}", "Values"),
        (f"query @a(b: {DEEP}) {{ __typename }}", "Values"),
        (f'{{ a(b: ")") # )\n {{ a(b: """)"\\""" """) {{ a(c: {DEEP}) }} }} }}', "Values"),
        ("{ a(b: [1]) " * 1000 + "}" * 1000, "Fields"),
        ('{ a(b: "(") # (\n' * 1000 + "}" * 1000, "Fields"),
        ("{ a" * 50 + " }" * 50, "Fields"),
    ],
)
def test_what_is_too_deep_is_named(query: str, word: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        Documents(SCHEMA).find(query, None)
    (error,) = refused.value.errors
    assert error.message.startswith(f"{word} ")
    assert error.extensions is not None
    assert error.extensions["code"] == "QUERY_TOO_COMPLEX"


def test_selections_are_counted_outside_of_values_and_texts() -> None:
    texts = '{ a(b: "}" # }\n c: """}\\""" """ d: "\\"}" e: {f: [{g: '
    assert open_selections(texts) == 1
    assert open_selections(f"{texts} 1}}]}}) {{ b {{ c }} d {{") == 3


WRONG = [
    "{ mesage(id: 1) { id } }",
    "{ message { id } }",
    "{ message(id: 1) { id } }",
    "mutation { deleteMessage(id: 1) }",
    f"{{ message(id: 1, {PHONE}) }}",
    f"{{ message(id: 1, {PHONE}, maxAg: 1) {{ id }} }}",
    f'{{ message(id: 1, {PHONE}, maxAge: "x") {{ id }} }}',
    f"{{ message(id: 1.5, {PHONE}) {{ id }} }}",
    "{ message(id: 1, phone: 7) { id } }",
    f"{{ message(id: 1, {PHONE}) {{ stat }} }}",
    f"{{ message(id: 1, {PHONE}) {{ id {{ a }} }} }}",
    f"{{ message(id: 1, {PHONE}) {{ error }} }}",
    f"{{ message(id: 1, {PHONE}) {{ cost {{ amoun }} }} }}",
    f"{{ message(id: 1, {PHONE}) {{ ... on Mesage {{ id }} }} }}",
    f"{{ status(id: 1, {PHONE}) {{ imsi }} }}",
    f"{{ status(id: 1, {PHONE}) {{ ... on Provider {{ id }} }} }}",
    f"{{ status(id: 1, {PHONE}) {{ ...A }} }} fragment A on Provider {{ inFlight }}",
    f"{{ message(id: 1, {PHONE}) {{ a: isFinal a: id }} }}",
    f"{{ message(id: 1, {PHONE}) {{ a: error {{ b: code }} a: cost {{ b: amount }} }} }}",
    "{ statuses(items: [{id: 1}]) { id } }",
    "{ statuses(items: [{id: 1, phone: null}]) { id } }",
    f"{{ statuses(items: [{{id: 1, {PHONE}, phon: 1}}]) {{ id }} }}",
    "{ statuses(items: 1) { id } }",
    "{ statuses(items: null) { id } }",
    "{ statuses { id } }",
    f"query ($p: Strin) {{ message(id: $p, {PHONE}) {{ id }} }}",
    "query ($p: Int) { message(id: 1, phone: $p) { id } }",
    "query ($p: Int) { statuses(items: $p) { id } }",
    "query ($p: Int) { statuses(items: [{id: 1, phone: $p}]) { id } }",
    f"subscription {{ status(id: 1, {PHONE}, until: REED) {{ id }} }}",
    f'subscription {{ status(id: 1, {PHONE}, until: "READ") {{ id }} }}',
    f"{{ message(id: 1, {PHONE}) {{ id @skip }} }}",
    f"{{ message(id: 1, {PHONE}) {{ id @skip(i: true) }} }}",
    f"{{ message(id: 1, {PHONE}) {{ id @include(if: 1) }} }}",
    "{ a: __typename @deprecate }",
    "type Mesage { a: Int } { __typename }",
    "subscription { __typename }",
]
WRONG_VARIABLES: list[tuple[str, dict[str, Any]]] = [
    ("query ($a: ID!) { message(id: $a, phone: $a) { id } }", {"a": "1"}),
    (ONE, {}),
    (ONE, {"id": None}),
    (ONE, {"id": [1]}),
    (ONE, {"id": "1", "m": "x"}),
    (ONE, {"id": "1", "m": 1e12}),
    (MANY, {"i": 1}),
    (MANY, {"i": [{"id": "1"}]}),
    (MANY, {"i": [{"id": "1", "phone": "7", "phon": 1}]}),
    (MANY, {"i": [None]}),
    (MANY, {"i": [{"id": "1", "phone": 7}]}),
    (UNTIL, {"u": "REED"}),
    (UNTIL, {"u": 1}),
    (UNTIL, {"u": ["READ"]}),
]
NAME = re.compile(r"[A-Za-z_]\w*")


def names_of_schema() -> set[str]:
    """The gateway's own; those of the specification are known to everybody."""
    types = {name: one for name, one in SCHEMA.type_map.items() if not name.startswith("__")}
    names = set(types)
    for type_ in types.values():
        fields = getattr(type_, "fields", {})
        names |= set(fields) | set(getattr(type_, "values", {}))
        names |= {name for field in fields.values() for name in getattr(field, "args", {})}
    return names


async def test_without_introspection_a_mistake_teaches_no_name() -> None:
    schema = names_of_schema()
    assert {"MessageState", "StatusKey", "phone", "maxAge", "READ", "ID", "Int"} <= schema
    english = {"at", "type", "Subscription"}
    headers = {"accept": "text/event-stream"}
    async with running(GRAPHQL_INTROSPECTION="false") as setup:
        for query, variables in [*((query, {}) for query in WRONG), *WRONG_VARIABLES]:
            body = {"query": query, "variables": variables}
            answer = await setup.client.post("/graphql", json=body, headers=headers)
            data = json.loads(answer.text.split("data: ")[1].split("\n\n")[0])
            written = set(NAME.findall(query + json.dumps(variables)))
            for error in data["errors"]:
                taught = set(NAME.findall(error["message"])) & schema - written - english
                assert not taught, (query, error["message"])
                assert "Did you mean" not in error["message"]
                assert error["extensions"]["code"] == "INVALID_ARGUMENT"


async def test_how_many_arguments_are_missing_is_not_told_either() -> None:
    async with running(GRAPHQL_INTROSPECTION="false") as setup:
        assert await told(setup, query="{ message { id } }") == [
            "A required argument of 'message' was not provided."
        ]


async def test_with_introspection_a_mistake_helps() -> None:
    async with running() as setup:
        (message,) = await told(setup, query="{ message(id: 1) { id } }")
        (other,) = await told(setup, query=f"{{ message(id: 1, {PHONE}) {{ stat }} }}")
    assert message.startswith("Argument 'Query.message(phone:)' of type 'String!' is required")
    assert "Did you mean" in other


def test_an_error_keeps_its_place() -> None:
    documents = Documents(SCHEMA, introspection=False)
    with pytest.raises(RequestRefused) as refused:
        documents.find("{\n  message(id: 1) { id }\n}", None)
    (error,) = refused.value.errors
    assert isinstance(error, GraphQLError)
    assert [(place.line, place.column) for place in error.locations or ()] == [(2, 3)]
