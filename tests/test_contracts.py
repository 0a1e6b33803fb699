"""The exported contracts are what the code says; the examples run."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from graphql import build_schema, find_breaking_changes
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from starlette.routing import request_response

from gateway.model.records import HlrLookup, Message
from gateway.web.graphql.schema import sdl
from gateway.web.http.auth import OPEN_PATHS
from gateway.web.pages.root import get_root
from gateway.web.rest import operations as api
from gateway.web.rest import push
from gateway.web.rest.document import openapi, openapi_yaml
from gateway.web.rest.fields import HIDDEN
from tests.support.clock import FakeClock
from tests.support.gateway import running

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "schema" / "examples").glob("*.graphql"))
QUERIES = [
    text for text in (path.read_text() for path in EXAMPLES) if "\nsubscription " not in text
]


def test_schema_graphql_is_up_to_date() -> None:
    assert (ROOT / "schema" / "schema.graphql").read_text() == sdl(), "run: make contracts"


def breaking(before: str, after: str) -> list[str]:
    changes = find_breaking_changes(build_schema(before), build_schema(after))
    return [change.description for change in changes]


def test_nothing_breaks_the_callers_of_the_last_release() -> None:
    """At a release: cp schema/schema.graphql schema/released.graphql."""
    released = (ROOT / "schema" / "released.graphql").read_text()
    assert breaking(released, sdl()) == []
    assert breaking(released, released.replace("sender: String", "senderName: String")) != []


def test_openapi_yaml_is_up_to_date() -> None:
    assert (ROOT / "openapi" / "openapi.yaml").read_text() == openapi_yaml(), "run: make contracts"


def test_openapi_is_valid() -> None:
    document = yaml.safe_load(openapi_yaml())
    validate(document)
    del document["info"]["title"]
    with pytest.raises(OpenAPIValidationError):
        validate(document)


def test_openapi_has_every_route() -> None:
    """Each method at each address, of the app as it runs with everything switched on."""
    handlers = api.of_push(push.Callback({"": "secret"}, FakeClock(), Counter()))
    handlers["getRoot"] = request_response(get_root)
    served = {
        (path, method.lower())
        for path, resource in api.resources(handlers).items()
        for method in resource.allow.split(", ")
        if method not in {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, item in openapi()["paths"].items() for method in item}
    assert documented == served


def test_what_needs_no_key_is_what_is_open() -> None:
    without = {one.path for one in api.OPERATIONS if one.scope is None}
    assert without == OPEN_PATHS - {"/console", "/docs", "/openapi.json", "/openapi.yaml"}


def test_both_contracts_have_the_same_fields() -> None:
    types = build_schema(sdl()).type_map
    schemas = openapi()["components"]["schemas"]
    for model in (Message, HlrLookup):
        name = model.__name__
        in_graphql = set(types[name].fields)  # type: ignore[attr-defined] # an object type
        assert in_graphql == set(schemas[name]["properties"]) - {"kind", HIDDEN}


def test_everything_in_the_graphql_schema_is_described() -> None:
    for name, type_ in build_schema(sdl()).type_map.items():
        if name.startswith("__") or name in {"Int", "String", "Boolean", "ID", "Float"}:
            continue
        assert type_.description, name
        for field, definition in getattr(type_, "fields", {}).items():
            assert definition.description, f"{name}.{field}"
            for argument, given in getattr(definition, "args", {}).items():
                assert given.description, f"{name}.{field}({argument}:)"


@pytest.mark.anyio
@pytest.mark.parametrize("query", QUERIES)
async def test_examples_run(query: str, tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.message(3, "79990000003")  # one that failed, for the archive's
        answer = await setup.graphql(query)
    assert "errors" not in answer
    assert all(answer["data"].values())


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml"])
async def test_openapi_is_served(path: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(path)
    assert yaml.safe_load(answer.text) == openapi()


def _documented_calls() -> list[tuple[str, str]]:
    """Each curl of the documentation with the answer printed below it."""
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/api.md"))
    blocks = re.findall(r"```(\w+)\n(.*?)\n```", text, re.DOTALL)
    return [
        (call, answer)
        for (kind, call), (next_kind, answer) in pairwise(blocks)
        if (kind, next_kind) == ("sh", "json")
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "printed"), _documented_calls())
async def test_documented_calls_are_answered_as_printed(call: str, printed: str) -> None:
    match = re.search(r"http://127\.0\.0\.1:8080([^' ]+)", call)
    assert match
    body = re.search(r"-d '(.*)'", call)
    async with running() as setup:
        if body:
            answer = await setup.client.post(match[1], json=json.loads(body[1]))
        else:
            answer = await setup.client.get(match[1])
    assert answer.text == printed
