"""The OpenAPI document, made from the records' classes and the table of problems."""

from typing import Any

import orjson
import yaml
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import __version__, errors
from gateway.detail import field_paths
from gateway.link import LinkState
from gateway.records import MAX_EMAIL_LENGTH, MAX_ID, HlrLookup, Message, Record
from gateway.service import MAX_ITEMS
from gateway.smsc.push import MAX_BYTES
from gateway.web import push
from gateway.web.problems import MEDIA_TYPE, STATUS, Problem
from gateway.web.rest import StatusResult

_EXAMPLE_KEY = {"id": "1", "phone": "79990000001"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id the provider gave, in decimal.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ID, "example": 1},
}
_PHONE = {
    "name": "phone",
    "in": "query",
    "required": True,
    "description": (
        "The number (5 to 20 digits, an optional leading +; spaces, - and parentheses are "
        "dropped) or the e-mail address it was sent to."
    ),
    "schema": {
        "type": "string",
        "maxLength": MAX_EMAIL_LENGTH,
        "pattern": r"^(\+?[0-9]{5,20}|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+)$",
        "example": "79990000001",
    },
}
_FIELDS_DESCRIPTION = (
    "The fields wanted, dotted for inner ones (`freshness.stale`). A record then holds only those, "
    "`kind`, `id` and `phone`, and the provider is asked for no more than they need. Without it, "
    "everything."
)
_CACHE_CONTROL = {
    "name": "Cache-Control",
    "in": "header",
    "description": "`max-age=N`, `no-cache` and `only-if-cached` are honoured (RFC 9111).",
    "schema": {"type": "string"},
}


def _fields(*kinds: type[Record]) -> dict[str, Any]:
    names = sorted(frozenset().union(*map(field_paths, kinds)))
    return {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1}


def _fields_parameter(kind: type[Record]) -> dict[str, Any]:
    return {
        "name": "fields",
        "in": "query",
        "description": f"Comma list. {_FIELDS_DESCRIPTION}",
        "style": "form",
        "explode": False,
        "schema": _fields(kind),
        "example": ["state", "error", "cost"],
    }


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


def _problems(*leaves: type[errors.GatewayError]) -> dict[str, Any]:
    """Responses for errors, by status, each with the codes it may have."""
    by_status: dict[int, list[str]] = {}
    for leaf in leaves:
        by_status.setdefault(STATUS[leaf], []).append(leaf.code)
    return {
        str(status): {
            "description": " or ".join(names),
            "content": {MEDIA_TYPE: {"schema": _ref("HttpProblem")}},
        }
        for status, names in sorted(by_status.items())
    }


_FROM_PROVIDER = (
    errors.InvalidArgument,
    errors.RateLimited,
    errors.UpstreamAuthFailed,
    errors.UpstreamBlocked,
    errors.UpstreamError,
    errors.UpstreamBadAnswer,
    errors.UpstreamUnreachable,
    errors.UpstreamTimeout,
    errors.Overloaded,
)


def _get_one(kind: type[Record], what: str) -> dict[str, Any]:
    model = kind.__name__
    return {
        "get": {
            "operationId": f"get{model}",
            "summary": f"One {what}",
            "tags": ["statuses"],
            "parameters": [_ID, _PHONE, _fields_parameter(kind), _CACHE_CONTROL],
            "responses": {
                "200": {
                    "description": f"What is known of the {what}; an undelivered one too.",
                    "headers": {
                        "Age": {
                            "description": "Seconds since the provider told it.",
                            "schema": {"type": "integer"},
                        },
                        "Cache-Control": {
                            "description": "How long it stays fresh.",
                            "schema": {"type": "string"},
                        },
                    },
                    "content": {
                        "application/json": {
                            "schema": {"anyOf": [_ref(model), _ref(f"{model}Selection")]}
                        }
                    },
                },
                **_problems(
                    errors.NotFound, errors.KindMismatch, errors.NotCached, *_FROM_PROVIDER
                ),
            },
        }
    }


def _events(kind: type[Record], what: str) -> dict[str, Any]:
    return {
        "get": {
            "operationId": f"follow{kind.__name__}",
            "summary": f"One {what}, followed",
            "tags": ["statuses"],
            "parameters": [_ID, _PHONE, _fields_parameter(kind)],
            "responses": {
                "200": {
                    "description": "Server-sent events.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                },
                **_problems(errors.InvalidArgument, errors.KindMismatch, errors.QuotaExceeded),
            },
        }
    }


def _delete() -> dict[str, Any]:
    return {
        "delete": {
            "operationId": "deleteMessage",
            "summary": "Delete a message at the provider",
            "tags": ["statuses"],
            "description": (
                "Counts for the provider's limits like a question about the message. For a while "
                "after it the message is not found; its event streams end."
            ),
            "parameters": [_ID, _PHONE],
            "responses": {
                "204": {"description": "The provider deleted it."},
                **_problems(
                    errors.Forbidden, errors.KindMismatch, errors.DeleteRefused, *_FROM_PROVIDER
                ),
            },
        }
    }


_SIGNATURE = (
    "Hex hash of `id:phone:status:secret`, with the phone as sent; one of `md5` and `sha1` is "
    "needed, and each that is given has to be right."
)
_PUSH_FIELDS = {
    "id": "The message's id.",
    "phone": "Its number, in any form.",
    "status": "The provider's status number.",
    "md5": _SIGNATURE,
    "sha1": _SIGNATURE,
    "err": "The provider's error number.",
    "ts": "When the status changed, in Unix seconds.",
    "type": "The provider's message type.",
}
_PUSH_NEEDED = ("id", "phone", "status")


def _callback() -> dict[str, Any]:
    """The form has more fields than these; what is not known is ignored."""
    fields = {
        name: {"type": "string", "description": about} for name, about in _PUSH_FIELDS.items()
    }
    common = {
        "tags": ["operation"],
        "security": [],  # the provider signs in a way of its own
        "description": (
            "For the provider: enter this address in the account's settings. It exists when "
            f"`CALLBACK_SECRET` is set. A form has at most {MAX_BYTES} bytes. A status joins what "
            "is known; repetitions and what comes too late change nothing. Incoming messages and "
            "calls (`mes`, `waitcall`) are answered and ignored."
        ),
        "responses": {
            "200": {
                "description": "Taken, also for a message that is not known.",
                "content": {"text/plain": {"schema": {"const": "OK"}}},
            },
            **_problems(errors.InvalidArgument, errors.Forbidden),
        },
    }
    parameters = [
        {"name": name, "in": "query", "required": name in _PUSH_NEEDED, "schema": schema}
        for name, schema in fields.items()
    ]
    form = {"type": "object", "required": list(_PUSH_NEEDED), "properties": fields}
    body = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return {
        "get": {
            "operationId": "pushByQuery",
            "summary": "The provider's push, as a query",
            **common,
            "parameters": parameters,
        },
        "post": {
            "operationId": "push",
            "summary": "The provider's push",
            **common,
            "requestBody": body,
        },
    }


def _batch() -> dict[str, Any]:
    item = {
        "type": "object",
        "required": ["id", "phone"],
        "properties": {"id": {"type": "string"}, "phone": {"type": "string"}},
    }
    body = {
        "type": "object",
        "required": ["items"],
        "additionalProperties": False,
        "properties": {
            "items": {"type": "array", "maxItems": MAX_ITEMS, "items": item},
            "fields": {
                **_fields(Message, HlrLookup),
                "type": ["array", "null"],
                "description": _FIELDS_DESCRIPTION,
            },
        },
        "example": {"items": [_EXAMPLE_KEY], "fields": ["state", "error"]},
    }
    results = {
        "type": "object",
        "required": ["results"],
        "properties": {"results": {"type": "array", "items": _ref("StatusResult")}},
    }
    return {
        "post": {
            "operationId": "getStatuses",
            "summary": "Many records",
            "tags": ["statuses"],
            "description": "Results keep the order and the count of the items, duplicates too.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {
                    "description": "A result for each item.",
                    "content": {"application/json": {"schema": results}},
                },
                **_problems(*_FROM_PROVIDER),
            },
        }
    }


_HEALTH = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string"},
        "breaker": {"type": "string", "description": "The state of the provider link's breaker."},
        "reason": {"type": "string", "description": "The code of the problem that opened it."},
    },
}


def _operation(
    operation: str, summary: str, *, media: str = "application/json", **answers: dict[str, Any]
) -> dict[str, Any]:
    """A question of those who run the gateway; `answers` are schemas by status."""
    responses = {
        status.removeprefix("_"): {
            "description": "As asked." if status == "_200" else "Not now.",
            "content": {media: {"schema": schema}},
        }
        for status, schema in answers.items()
    }
    get = {"operationId": operation, "summary": summary, "tags": ["operation"]}
    return {"get": {**get, "responses": responses}}


def _schemas() -> dict[str, Any]:
    _, document = models_json_schema(
        [
            (Message, "serialization"),
            (HlrLookup, "serialization"),
            (StatusResult, "serialization"),
            (Problem, "serialization"),
            (LinkState, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    for model in ("Message", "HlrLookup"):
        selection = _selection(schemas[model], schemas)
        selection |= {
            "title": f"{model}Selection",
            "description": f"Those fields of a {model} that were asked for.",
        }
        schemas[f"{model}Selection"] = selection
        record = schemas["StatusResult"]["properties"]["record"]
        record["anyOf"].insert(-1, _ref(f"{model}Selection"))
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


def openapi() -> dict[str, Any]:
    """The whole document (OpenAPI 3.1)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SMSC status gateway",
            "version": __version__,
            "description": (
                "What became of a message or an HLR lookup, within the provider's limits. "
                f"An id is a decimal number from 1 to {MAX_ID}."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "statuses", "description": "Messages and HLR lookups"},
            {"name": "operation", "description": "For those who run the gateway"},
        ],
        "paths": {
            "/v1/messages/{id}": {**_get_one(Message, "message"), **_delete()},
            "/v1/hlr-lookups/{id}": _get_one(HlrLookup, "HLR lookup"),
            "/v1/messages/{id}/events": _events(Message, "message"),
            "/v1/hlr-lookups/{id}/events": _events(HlrLookup, "HLR lookup"),
            "/v1/statuses/batch": _batch(),
            "/v1/provider": _operation(
                "getProvider", "The state of the provider link", _200=_ref("LinkState")
            ),
            push.PATH: _callback(),
            "/metrics": _operation(
                "getMetrics",
                "The same for Prometheus",
                media="text/plain",
                _200={"type": "string"},
            ),
            "/livez": _operation("isLive", "Does the process run?", _200=_HEALTH),
            "/readyz": _operation("isReady", "Can it answer?", _200=_HEALTH, _503=_HEALTH),
        },
        "components": {"schemas": _schemas()},
    }


class _Dumper(yaml.SafeDumper):
    """Plain YAML: no anchors, for people read it."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def openapi_yaml() -> str:
    return yaml.dump(openapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


async def get_yaml(_: Request) -> Response:
    return Response(openapi_yaml(), media_type="application/yaml")


async def get_json(_: Request) -> Response:
    return Response(orjson.dumps(openapi()), media_type="application/json")


routes: list[BaseRoute] = [
    Route("/openapi.yaml", get_yaml),
    Route("/openapi.json", get_json),
]
