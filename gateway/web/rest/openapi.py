"""Describes an operation of the REST API in OpenAPI 3.1; the words that all share.

`api` is the table of the operations, `docs` the document around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway import errors
from gateway.callers import model
from gateway.model.detail import field_paths
from gateway.model.records import EMAIL_PATTERN, MAX_EMAIL_LENGTH, MAX_ID, PHONE_PATTERN, Record
from gateway.watch import UNTIL_STATES
from gateway.web.http.hosts import OPEN_TO_ALL
from gateway.web.http.methods import JSON, MAX_QUERY_BYTES
from gateway.web.http.problems import MEDIA_TYPE, STATUS, http_code, problem_of
from gateway.web.http.reply import Endpoint
from gateway.web.rest.follow import LONGEST_WAIT

Json: TypeAlias = dict[str, Any]

BEARER = "bearer"
"""The name of the security scheme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method at one address: from these come its route and its part of the document.

    `handler` is the endpoint; None where the composition root brings one, or leaves the
    operation out. `scope`: what a caller needs, None: not even a key. `answers` are the responses
    that are no problems, by status. `problems` are the errors of its own, `refusals` the problems
    of HTTP's own, by status; those that all have are added.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    handler: Endpoint | None = None
    scope: model.Scope | None = None
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    answers: Mapping[int, Json]
    problems: tuple[type[errors.GatewayError], ...] = ()
    refusals: tuple[int, ...] = ()
    max_query: float = MAX_QUERY_BYTES

    def document(self) -> Json:
        """The operation object."""
        told: Json = {"operationId": self.id, "summary": self.summary, "tags": [self.tag]}
        if self.description:
            told["description"] = self.description
        told["security"] = [] if self.scope is None else [{BEARER: [self.scope.value]}]
        if self.parameters:
            told["parameters"] = list(self.parameters)
        if self.body is not None:
            told["requestBody"] = {"required": True, "content": self.body}
        responses = dict(self.answers) | self._refusals()
        told["responses"] = {str(status): responses[status] for status in sorted(responses)}
        return told

    def _refusals(self) -> dict[int, Json]:
        leaves = set(self.problems)
        if self.path not in OPEN_TO_ALL:
            leaves.add(errors.HostNotAllowed)
        refusals = set(self.refusals)
        if self.scope is not None:
            leaves |= {errors.Unauthenticated, errors.Forbidden, errors.QuotaExceeded}
        if any(one["in"] == "query" for one in self.parameters):
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


def _problem(status: int, codes: list[str], *, retryable: bool) -> Json:
    headers = {"X-Request-Id": REQUEST_ID}
    if retryable:
        headers["Retry-After"] = _header_ref("Retry-After")
    if status in _CHALLENGING:
        headers["WWW-Authenticate"] = _header_ref("WWW-Authenticate")
    shown: Json = {"schema": ref("HttpProblem")}
    if examples := {code: _component("examples", code) for code in codes if code in PROBLEMS}:
        shown["examples"] = examples
    return {
        "description": " or ".join(codes),
        "headers": headers,
        "content": {MEDIA_TYPE: shown},
    }


_CHALLENGING = frozenset({401, 403})


def _example(leaf: type[errors.GatewayError]) -> Json:
    wait = 12 if leaf.retryable else None
    error: errors.GatewayError
    if leaf is errors.RateLimited:
        error = errors.RateLimited(limit=errors.Limit.PER_MESSAGE, retry_after=wait)
    else:
        error = leaf()
        error.retry_after = wait
    told: Json = {
        "type": f"urn:smsc-gateway:problem:{leaf.code}",
        **problem_of(error).model_dump(by_alias=True),
        "instance": "/v1/messages/1",
        "requestId": "5f0c6e1b9a3d2748",
    }
    return told | ({"limit": "PER_MESSAGE"} if leaf is errors.RateLimited else {})


PROBLEMS = {
    leaf.code: {"value": _example(leaf)}
    for leaf in STATUS
    if leaf not in {errors.QueryTooComplex, errors.RouteNotFound}
}
"""An example of each problem of the gateway's own that an operation has, by its code."""


def _component(section: str, name: str) -> Json:
    return {"$ref": f"#/components/{section}/{name}"}


def _header_ref(name: str) -> Json:
    return _component("headers", name)


def ref(name: str) -> Json:
    """A schema of the document's."""
    return _component("schemas", name)


def content(schema: Json, media: str = JSON, **examples: object) -> Json:
    """What is in an answer, with examples by name."""
    told: Json = {"schema": schema}
    if examples:
        told["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {media: told}


def header(description: str, example: object, type_: str = "string") -> Json:
    """A header of an answer."""
    return {"description": description, "schema": {"type": type_}, "example": example}


HEADERS = {
    "Age": header("Seconds since the provider told it.", 5, "integer"),
    "Cache-Control": header("What is left of its freshness, in seconds.", "private, max-age=7"),
    "Cache-Status": header(
        "From what was known (`hit`) or asked for (`fwd`), how long it stays fresh (`ttl`), and "
        "what kept a newer one away (`detail`); RFC 9211.",
        "smsc-gateway; hit; ttl=7",
    ),
    "ETag": header(
        "Changes with everything shown but `ageSeconds`, `nextRefreshAt` and `source`.",
        'W/"a1b2c3d4e5f6-012345678901"',
    ),
    "Not-Stored": header("Not to be kept.", "no-store"),
    "Preference-Applied": header("The wait that was kept to (RFC 7240).", "wait=30"),
    "Retry-After": header("Seconds to wait, where they are known.", 12, "integer"),
    "Vary": header("Callers differ in what they may see.", "authorization"),
    "WWW-Authenticate": header("What is missing (RFC 6750).", 'Bearer realm="smsc-gateway"'),
    "X-Request-Id": header("The request's id in the log; the caller's own if a token.", "5f0c6e1b"),
}
"""Of answers, for the document's components."""

REQUEST_ID = _header_ref("X-Request-Id")
NO_STORE = _header_ref("Not-Stored")

RECORD_HEADERS = {
    name: _header_ref(name)
    for name in (
        "Age",
        "Cache-Control",
        "Cache-Status",
        "ETag",
        "Preference-Applied",
        "Vary",
        "X-Request-Id",
    )
}

ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id the provider gave, in decimal.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "example": 1,
}

PHONE = {
    "name": "phone",
    "in": "query",
    "required": True,
    "description": (
        "The number (5 to 20 digits, an optional leading + or `tel:`; spaces, dashes, dots, "
        "slashes and parentheses are dropped) or the e-mail address it was sent to. A Russian or "
        "Kazakh number may begin with 7 or 8. To be given exactly once."
    ),
    "schema": {
        "type": "string",
        "maxLength": MAX_EMAIL_LENGTH,
        "pattern": f"^(?:{PHONE_PATTERN}|{EMAIL_PATTERN})$",
    },
    "example": "79990000001",
}

FIELDS_DESCRIPTION = (
    "The fields wanted, dotted for inner ones (`freshness.stale`). A record then holds only those, "
    "`kind`, `id` and `phone`, and the provider is asked for no more than they need. Without it, "
    "everything. `text` and `comment` need the scope `content:read`, `imsi` and `msc` "
    "`identity:read`: named here they are refused without it, else they are null."
)


def field_names(*kinds: type[Record]) -> Json:
    """The schema of a list of fields."""
    names = sorted(frozenset().union(*map(field_paths, kinds)))
    return {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1}


def fields(kind: type[Record]) -> Json:
    """The parameter `fields`."""
    return {
        "name": "fields",
        "in": "query",
        "description": f"Comma list, or repeated. {FIELDS_DESCRIPTION}",
        "style": "form",
        "explode": False,
        "schema": field_names(kind),
        "example": ["state", "error", "freshness.stale"],
    }


def _header(name: str, description: str, example: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


CACHE_CONTROL = _header(
    "Cache-Control",
    "`max-age=N`: no older than that. `no-cache`: ask the provider, if its limits allow it; else "
    "the newest record known comes, marked stale. `only-if-cached`: never ask. `max-stale=N` and "
    "`min-fresh=N`: so far beyond or within its freshness (RFC 9111). `stale-if-error=N`: no older "
    "record than that instead of an error, 0: none (RFC 5861).",
    "max-age=60",
)
IF_NONE_MATCH = _header(
    "If-None-Match",
    "The `ETag` of what the caller has: if that still holds, the answer is 304.",
    'W/"a1b2c3d4e5f6-012345678901"',
)
PREFER = _header(
    "Prefer",
    f"`wait=N`: answer when the state is another than the one of `If-None-Match`, or than the one "
    f"known now, or with `until` when that state is reached; at the latest after N seconds, "
    f"{LONGEST_WAIT} at most (RFC 7240).",
    "wait=30",
)
UNTIL = {
    "name": "until",
    "in": "query",
    "description": (
        "Follow the message beyond DELIVERED to this state, a failure, or for a day: for "
        "`Prefer: wait`, and for events."
    ),
    "schema": {"type": "string", "enum": [state.value for state in UNTIL_STATES]},
}
LAST_EVENT_ID = _header(
    "Last-Event-ID",
    "The id of the last event: what it told is not told again. Browsers send it by themselves.",
    "a1b2c3d4e5f6",
)
