"""The OpenAPI document, made from the table of operations and the records' classes."""

from functools import cache
from typing import Any

import orjson
import yaml
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send
from starlette.types import Scope as Scope_

from gateway import __version__, errors
from gateway.callers.model import HIDDEN_WITHOUT, Scope
from gateway.model.described import twin
from gateway.model.records import MAX_ID, HlrLookup, Message, Record, shown_fields
from gateway.upstream.status import LinkState
from gateway.web.http.compression import PLAIN, gzipped, takes_gzip
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import JSON, Resource
from gateway.web.http.problems import Problem
from gateway.web.http.reply import Reply, Sending
from gateway.web.rest import operations as api
from gateway.web.rest.fields import HIDDEN, KINDS
from gateway.web.rest.openapi import BEARER, HEADERS, PROBLEMS, Json, ref
from gateway.web.rest.records import StatusResult

YAML = "application/yaml"


def _selection(schema: Any, schemas: dict[str, Any], *, inner: bool = False) -> Any:  # noqa: ANN401 - JSON
    """A schema of the same fields, of which any may be left out, and of inner ones as well."""
    if isinstance(schema, list):
        return [_selection(item, schemas, inner=True) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = schemas[schema["$ref"].rpartition("/")[2]]
        return schema if "enum" in named else _selection(named, schemas, inner=True)
    copied = {name: _selection(value, schemas, inner=True) for name, value in schema.items()}
    if "properties" in schema:
        copied["required"] = [] if inner else ["kind", "id", "phone"]
    return copied


def _schemas() -> dict[str, Any]:
    _, document = models_json_schema(
        [
            (twin(Message), "serialization"),
            (twin(HlrLookup), "serialization"),
            (StatusResult, "serialization"),
            (Problem, "serialization"),
            (LinkState, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    for kind in KINDS:
        model = kind.__name__
        selection = _selection(schemas[model], schemas)
        selection |= {
            "title": f"{model}Selection",
            "description": f"Those fields of a {model} that were asked for.",
        }
        schemas[f"{model}Selection"] = selection
        record = schemas["StatusResult"]["properties"]["record"]
        record["anyOf"].insert(-1, ref(f"{model}Selection"))
        schemas[model]["properties"][HIDDEN] = _hidden(kind)
    http = {
        "type": {"type": "string", "description": "A URI for the code."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "requestId": {"type": "string", "description": "The id of the request in the log."},
        "limit": {
            "type": "string",
            "enum": [limit.value for limit in errors.Limit],
            "description": "With RATE_LIMITED: which limit stands in the way.",
        },
    }
    schemas["HttpProblem"] = {
        "title": "HttpProblem",
        "description": "A problem as an HTTP answer (RFC 9457).",
        "type": "object",
        "properties": {**http, **schemas["Problem"]["properties"]},
        "required": ["type", "instance", "requestId", *schemas["Problem"]["required"]],
    }
    return dict(sorted(schemas.items()))


def _hidden(kind: type[Record]) -> Json:
    needed = {name: scope for scope, names in HIDDEN_WITHOUT.items() for name in names}
    names = [name for name in shown_fields(kind) if name in needed]
    return {
        "type": "array",
        "items": {"type": "string", "enum": names},
        "minItems": 1,
        "description": (
            "Fields that are null because the caller lacks their scope: "
            + ", ".join(f"`{name}` needs `{needed[name]}`" for name in names)
            + ". Only there if there are any."
        ),
    }


def _paths() -> Json:
    paths: Json = {}
    for operation in api.OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.document()
    return paths


@cache
def openapi() -> Json:
    """The whole document (OpenAPI 3.1)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SMSC status gateway",
            "version": __version__,
            "description": (
                "What became of a message or an HLR lookup, within the provider's limits. "
                f"An id is a decimal number from 1 to {MAX_ID}.\n\n"
                "`HEAD` and `OPTIONS` are answered wherever `GET` is. What goes wrong is told as a "
                "problem (RFC 9457); its `code` is the same in GraphQL. Each answer has an "
                "`X-Request-Id`, under which the log has it.\n\n"
                "Program against codes and states. A `title`, `detail` or `description` is for "
                "people, and its words may change. Enums are open: a new release may add values, "
                "so treat one that is not known as UNKNOWN or UNMAPPED is treated."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": api.STATUSES, "description": "Messages and HLR lookups"},
            {"name": api.RUNNING, "description": "For those who run the gateway"},
        ],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": (
                        "A key of `GATEWAY_CLIENTS_FILE`, or a token of its issuer; without that "
                        "file nobody needs one. Scopes:\n\n"
                        + "\n".join(f"- `{scope}`: {about}" for scope, about in _SCOPES.items())
                    ),
                }
            },
            "headers": HEADERS,
            "examples": PROBLEMS,
            "schemas": _schemas(),
        },
    }


_SCOPES = {
    Scope.STATUS_READ: "ask for messages and lookups.",
    Scope.CONTENT_READ: "see `text` and `comment`.",
    Scope.IDENTITY_READ: "see `imsi` and `msc`.",
    Scope.MESSAGE_DELETE: "delete a message at the provider.",
    Scope.PROVIDER_READ: "see how the provider link is doing, metrics included.",
}


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


def _answer(media: str, scope: Scope_) -> Reply:
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


async def get_yaml(scope: Scope_, _: Receive, __: Send) -> Reply:
    return _answer(YAML, scope)


async def get_json(scope: Scope_, _: Receive, __: Send) -> Reply:
    return _answer(JSON, scope)


routes: list[BaseRoute] = [
    Route("/openapi.yaml", Sending(Resource({"GET": (get_yaml, None)}))),
    Route("/openapi.json", Sending(Resource({"GET": (get_json, None)}))),
]
