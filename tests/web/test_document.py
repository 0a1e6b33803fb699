"""The template of the OpenAPI document and the code agree, or it is told where they do not."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from gateway import errors
from gateway.callers.model import Scope
from gateway.web.http.methods import JSON
from gateway.web.rest.document import TEMPLATE, TemplateError, document, openapi
from gateway.web.rest.operations import OPERATIONS, Operation

WORDS = TEMPLATE.read_text(encoding="utf-8")
ROW = Operation("PATCH", "/v1/messages/{id}", "mend")
MENDED = """  /v1/messages/{id}:
    patch:
      operationId: mend
      responses: {204: {description: It is whole again.}}
"""
BOTH = WORDS.replace("  /v1/messages/{id}:\n", MENDED)


def wrong(template: str, *operations: Operation) -> str:
    with pytest.raises(TemplateError) as refused:
        document(template, operations or OPERATIONS)
    return str(refused.value)


def test_an_operation_needs_a_row_and_words() -> None:
    place = "('patch', '/v1/messages/{id}', 'mend')"
    made = document(BOTH, [*OPERATIONS, ROW])["paths"]["/v1/messages/{id}"]
    assert made["patch"]["responses"].keys() == {"204", "421"}
    assert wrong(BOTH) == f"Only in the table: []; only in the template: [{place}]."
    assert wrong(WORDS, *OPERATIONS, ROW) == (
        f"Only in the table: [{place}]; only in the template: []."
    )
    other = BOTH.replace("operationId: mend", "operationId: repair")
    assert "'mend'" in wrong(other, *OPERATIONS, ROW)


def test_a_problem_comes_from_the_table_alone() -> None:
    row = Operation("PATCH", ROW.path, ROW.id, problems=(errors.NotFound,))
    both = BOTH.replace("204:", "404:")
    assert wrong(both, *OPERATIONS, row) == "mend has [404] in the template and in the table."


def test_a_schema_is_made_or_written() -> None:
    both = WORDS.replace("\n  schemas:\n", "\n  schemas:\n    Problem: {type: object}\n")
    assert wrong(both) == "schemas.py makes what the template has as well: ['Problem']."


@pytest.mark.parametrize("blank", ["${MAX_IDS}", "to ${MAX_IDS} and", "${}", "${ MAX_ID }"])
def test_what_the_code_does_not_know_cannot_be_named(blank: str) -> None:
    assert "is none of VERSION, MAX_ID, " in wrong(WORDS.replace("url: /", f"url: {blank}"))


def test_what_the_template_does_not_name_has_no_name() -> None:
    assert wrong(WORDS.replace("${MAX_ITEMS}", "1000")) == "The template does not use: MAX_ITEMS."


def test_a_value_is_what_json_has() -> None:
    assert "put it in quotes" in wrong(WORDS.replace("example: wait=30", "example: 2026-01-15"))


def test_no_key_is_there_twice() -> None:
    """YAML would take the last one, and tell nobody."""

    def twice(node: yaml.Node | None) -> Iterator[str]:
        if isinstance(node, yaml.MappingNode):
            names = Counter(key.value for key, _ in node.value)
            yield from (f"{name} at {node.start_mark}" for name, n in names.items() if n > 1)
            for _, value in node.value:
                yield from twice(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                yield from twice(value)

    def twice_in(words: str) -> list[str]:
        return list(twice(yaml.compose(words, yaml.SafeLoader)))

    assert twice_in(WORDS) == []
    assert len(twice_in("a: {b: [{c: 1, c: 2}]}")) == 1


def test_each_shared_part_is_used() -> None:
    made, used = set(), set()
    for event in yaml.parse(WORDS, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            used.add(event.anchor)
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            made.add(event.anchor)
    assert made == used


def test_each_tag_and_each_scope_is_explained() -> None:
    operations = [one for item in openapi()["paths"].values() for one in item.values()]
    assert {tag for one in operations for tag in one["tags"]} == {
        tag["name"] for tag in openapi()["tags"]
    }
    about = openapi()["components"]["securitySchemes"]["bearer"]["description"]
    assert [scope for scope in Scope if f"\n- `{scope}`: " not in about] == []


def _examples() -> Iterator[tuple[str, Any, Any]]:
    """Of each body in JSON, by its place: the schema and what is shown."""
    for path, item in openapi()["paths"].items():
        for method, one in item.items():
            bodies = {**one["responses"], "request": one.get("requestBody", {})}
            for place, body in bodies.items():
                media = body.get("content", {}).get(JSON, {})
                named = media.get("examples", {})
                shown = [value["value"] for value in named.values()]
                shown += [media["example"]] if "example" in media else []
                for value in shown:
                    yield f"{method} {path} {place}", media["schema"], value


def test_examples_are_what_their_schemas_say() -> None:
    components = openapi()["components"]
    found = [
        f"{place}: {error.message}"
        for place, schema, value in _examples()
        for error in OAS31Validator({**schema, "components": components}).iter_errors(value)
    ]
    assert found == []
    assert len(list(_examples())) > 8
