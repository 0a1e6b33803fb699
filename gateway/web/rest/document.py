"""Makes the OpenAPI document from the template `openapi.yaml` and the table, and serves it.

Open it to give the template another `${NAME}`, or to change the problems that all operations share.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway import __version__, errors
from gateway.archive import changes
from gateway.archive.filters import MOST_VALUES
from gateway.archive.listing import MOST, Order
from gateway.follows import MOST_KEYS
from gateway.model.detail import field_paths
from gateway.model.records import (
    EMAIL_PATTERN,
    MAX_EMAIL_LENGTH,
    MAX_ID,
    PHONE_PATTERN,
    HlrLookup,
    Message,
    Record,
    RecordState,
)
from gateway.service import MAX_ITEMS
from gateway.smsc.push import MAX_BYTES
from gateway.watch import UNTIL_STATES
from gateway.web.http.compression import PLAIN, gzipped, takes_gzip
from gateway.web.http.headers import named_headers
from gateway.web.http.hosts import OPEN_TO_ALL
from gateway.web.http.methods import JSON, Resource
from gateway.web.http.problems import MEDIA_TYPE, STATUS, http_code
from gateway.web.http.reply import Reply, Sending
from gateway.web.rest import examples
from gateway.web.rest.feed import CHANGE_MEMBERS, RECORD
from gateway.web.rest.fields import HISTORY, KINDS
from gateway.web.rest.follow import LONGEST_WAIT
from gateway.web.rest.operations import OPERATIONS, Operation
from gateway.web.rest.schemas import Json, schemas

YAML = "application/yaml"

TEMPLATE: Final = Path(__file__).with_name("openapi.yaml")

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BLANK: Final = re.compile(r"\$\{([^}]*)\}?")

_CHALLENGING: Final = frozenset({401, 403})
"""Statuses that come with `WWW-Authenticate`."""


class TemplateError(Exception):
    """The template and the code do not agree."""


@cache
def openapi() -> Json:
    """The whole document (OpenAPI 3.1)."""
    return document(TEMPLATE.read_text(encoding="utf-8"), OPERATIONS)


def _values() -> Json:
    """What `${NAME}` stands for in the template, which has to use each of them."""
    return {
        "VERSION": __version__,
        "MAX_ID": MAX_ID,
        "MAX_ITEMS": MAX_ITEMS,
        "MAX_LISTED": MOST,
        "MAX_CHANGES": changes.MOST,
        "CHANGE_FIELDS": sorted(CHANGE_MEMBERS)
        + [f"{RECORD}.{name}" for name in _field_names(*KINDS) if name != HISTORY],
        "CHANGE": examples.CHANGE,
        "CHANGE_LINE": examples.line(examples.CHANGE),
        "MAX_VALUES": MOST_VALUES,
        "RECORD_STATES": [state.value for state in RecordState],
        "LIST_ORDERS": [order.value for order in Order],
        "MAX_EMAIL_LENGTH": MAX_EMAIL_LENGTH,
        "MAX_PUSH_BYTES": MAX_BYTES,
        "LONGEST_WAIT": LONGEST_WAIT,
        "PHONE_PATTERN": PHONE_PATTERN,
        "EMAIL_PATTERN": EMAIL_PATTERN,
        "UNTIL_STATES": [state.value for state in UNTIL_STATES],
        "UNTIL_STATES_OR_NULL": [*[state.value for state in UNTIL_STATES], None],
        "MAX_FOLLOWED": MOST_KEYS,
        "FORECAST": examples.FORECAST,
        "FOLLOW": examples.FOLLOW,
        "REFRESH": examples.REFRESH,
        "FOLLOW_LINE": examples.line(examples.FOLLOW),
        "LIMITS": [limit.value for limit in errors.Limit],
        "MESSAGE_FIELDS": _field_names(Message),
        "LOOKUP_FIELDS": _field_names(HlrLookup),
        "RECORD_FIELDS": _field_names(*KINDS),
        "MESSAGE": examples.MESSAGE,
        "MESSAGE_SELECTION": examples.selection(examples.MESSAGE),
        "MESSAGE_LINE": examples.line(examples.MESSAGE),
        "LOOKUP": examples.LOOKUP,
        "LOOKUP_SELECTION": examples.selection(examples.LOOKUP),
        "LOOKUP_LINE": examples.line(examples.LOOKUP),
        "RESULTS": examples.RESULTS,
        "PROBLEMS": examples.PROBLEMS,
    }


def _field_names(*kinds: type[Record]) -> list[str]:
    return sorted(frozenset().union(*map(field_paths, kinds)))


def document(template: str, operations: Iterable[Operation]) -> Json:
    """The document from this template and this table. Raises `TemplateError`."""
    told: Json = _filled(yaml.load(template, _LOADER), _values())  # noqa: S506 - it is a safe one
    told.pop("x-shared", None)
    told["paths"] = _paths(told["paths"], operations)
    made, written = schemas(), told["components"]["schemas"]
    if both := made.keys() & written.keys():
        raise TemplateError(f"schemas.py makes what the template has as well: {sorted(both)}.")
    http = written["HttpProblem"]
    http["properties"] |= made["Problem"]["properties"]
    http["required"] += made["Problem"]["required"]
    told["components"]["schemas"] = dict(sorted((made | written).items()))
    return told


def _filled(template: object, values: Json) -> Any:  # noqa: ANN401 - JSON
    unused = set(values)

    def value(name: str) -> Any:  # noqa: ANN401 - JSON
        if name not in values:
            raise TemplateError(f"${{{name}}} is none of {', '.join(values)}.")
        unused.discard(name)
        return values[name]

    def fill(node: object) -> object:
        match node:
            case dict():
                return {name: fill(one) for name, one in node.items()}
            case list():
                return [fill(one) for one in node]
            case str() if whole := _BLANK.fullmatch(node):
                return value(whole[1])
            case str():
                return _BLANK.sub(lambda found: str(value(found[1])), node)
            case None | bool() | int() | float():
                return node
            case _:
                raise TemplateError(f"JSON has nothing like {node!r}: put it in quotes.")

    told = fill(template)
    if unused:
        raise TemplateError(f"The template does not use: {', '.join(sorted(unused))}.")
    return told


def _paths(told: Json, operations: Iterable[Operation]) -> Json:
    """The path items, in the order of the template."""
    rows = {(one.method.lower(), one.path, one.id): one for one in operations}
    words = {
        (method, path, about.get("operationId", "")): about
        for path, item in told.items()
        for method, about in item.items()
    }
    if rows.keys() != words.keys():
        here, there = sorted(rows.keys() - words.keys()), sorted(words.keys() - rows.keys())
        raise TemplateError(f"Only in the table: {here}; only in the template: {there}.")
    paths: Json = {}
    for (method, path, id_), about in words.items():
        paths.setdefault(path, {})[method] = _operation(rows[method, path, id_], about)
    return paths


def _operation(row: Operation, about: Json) -> Json:
    """The operation object: as the template has it, with `security` and the problem responses."""
    responses = {int(status): answer for status, answer in about["responses"].items()}
    has_query = any(one["in"] == "query" for one in about.get("parameters", ()))
    problems = _problems(row, has_query=has_query)
    if both := responses.keys() & problems.keys():
        raise TemplateError(f"{row.id} has {sorted(both)} in the template and in the table.")
    responses |= problems
    first = ("operationId", "summary", "tags", "description")
    return {
        **{name: about[name] for name in first if name in about},
        "security": [] if row.scope is None else [{"bearer": [row.scope.value]}],
        **{name: value for name, value in about.items() if name not in first},
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }


def _problems(row: Operation, *, has_query: bool) -> dict[int, Json]:
    """The problem responses of an operation, by status."""
    leaves, refusals = set(row.problems), set(row.refusals)
    if row.path not in OPEN_TO_ALL:
        leaves.add(errors.HostNotAllowed)
    if row.scope is not None:
        leaves |= {errors.Unauthenticated, errors.Forbidden, errors.QuotaExceeded}
    if has_query:
        refusals.add(414)
    by_status: dict[int, list[str]] = {}
    for leaf in sorted(leaves, key=lambda leaf: leaf.code):
        by_status.setdefault(STATUS[leaf], []).append(leaf.code)
    for status in refusals:
        by_status.setdefault(status, []).append(http_code(status))
    retryable = {STATUS[leaf] for leaf in leaves if leaf.retryable}
    return {
        status: _problem(status, codes, retryable=status in retryable)
        for status, codes in by_status.items()
    }


_BEFORE_PARSING = frozenset({414})
"""What may be refused before it is known what is asked for, and then in one plain line."""


def _problem(status: int, codes: list[str], *, retryable: bool) -> Json:
    headers = ["X-Request-Id"]
    if retryable:
        headers.append("Retry-After")
    if status in _CHALLENGING:
        headers.append("WWW-Authenticate")
    shown: Json = {"schema": _ref("schemas", "HttpProblem")}
    if known := [code for code in codes if code in examples.PROBLEMS]:
        shown["examples"] = {code: _ref("examples", code) for code in known}
    content: Json = {MEDIA_TYPE: shown}
    if status in _BEFORE_PARSING:
        content["text/plain"] = {"schema": {"type": "string"}}
    return {
        "description": " or ".join(codes),
        "headers": {name: _ref("headers", name) for name in headers},
        "content": content,
    }


def _ref(section: str, name: str) -> Json:
    return {"$ref": f"#/components/{section}/{name}"}


class _Dumper(yaml.SafeDumper):
    """Plain YAML: no anchors, for people read it."""

    def ignore_aliases(self, _: object) -> bool:
        return True


@cache
def openapi_yaml() -> str:
    return yaml.dump(openapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@cache
def _body(media: str, coding: str) -> bytes:
    """The document, made once when first asked for."""
    body = openapi_yaml().encode() if media == YAML else orjson.dumps(openapi())
    return body if coding == PLAIN else gzipped(body)


def _answer(media: str, scope: Scope) -> Reply:
    headers = named_headers(scope)
    coding = "gzip" if takes_gzip(headers.get(b"accept-encoding", b"")) else PLAIN
    body = _body(media, coding)
    fields = [
        (b"content-type", media.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-cache"),
        (b"vary", b"accept-encoding"),
    ]
    if coding != PLAIN:
        fields.append((b"content-encoding", coding.encode()))
    return Reply(200, fields, b"" if scope["method"] == "HEAD" else body)


async def get_yaml(scope: Scope, _: Receive, __: Send) -> Reply:
    return _answer(YAML, scope)


async def get_json(scope: Scope, _: Receive, __: Send) -> Reply:
    return _answer(JSON, scope)


routes: list[BaseRoute] = [
    Route("/openapi.yaml", Sending(Resource({"GET": (get_yaml, None)}))),
    Route("/openapi.json", Sending(Resource({"GET": (get_json, None)}))),
]
