"""Records, results and problems as the OpenAPI document shows them, made by the models themselves.

An example that is as short as a line stands in `openapi.yaml`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from gateway import errors
from gateway.model import records
from gateway.model.described import as_model
from gateway.model.records import HlrLookup, Message
from gateway.upstream.cost import Served
from gateway.upstream.forecast import Forecast
from gateway.web.http.problems import STATUS, Outcome, problem_of, told
from gateway.web.rest.follows import Estimate, FollowStatus

_KEY = {"id": "1", "phone": "79990000001"}

_SENT_AT = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
_STATUS_AT = _SENT_AT + timedelta(seconds=8)
_OBSERVED_AT = _SENT_AT + timedelta(seconds=20)

_FRESHNESS = records.Freshness(
    source=records.FreshnessSource.CACHE,
    observed_at=_OBSERVED_AT,
    age_seconds=5,
    expires_at=_OBSERVED_AT + timedelta(hours=2),
    stale=False,
    detail=records.DetailLevel.FULL,
)

_MESSAGE = Message(
    id=records.RecordId("1"),
    phone="79990000001",
    type=records.MessageType.SMS,
    provider_status=records.ProviderStatus(code=1, name="Delivered", text="Доставлено"),
    is_final=True,
    last_status_time=_STATUS_AT,
    sent_at=_SENT_AT,
    sender="SMSC.RU",
    text="Your code is 1234",
    cost=records.Money(amount="3.20", currency="RUB"),
    state=records.MessageState.DELIVERED,
    state_group=records.StateGroup.DELIVERED,
    parts=1,
    subscriber=records.Subscriber(
        country="Россия",
        operator="МегаФон",
        original_operator="МТС",
        region="г. Москва",
        mcc="250",
        mnc="02",
    ),
    porting=records.Porting(status=records.PortingStatus.PORTED),
    smpp=records.SmppState(code=2, name="DELIVERED"),
)

_LOOKUP = HlrLookup(
    id=records.RecordId("2"),
    phone="79990000001",
    type=records.MessageType.HLR,
    provider_status=records.ProviderStatus(code=1, name="Delivered", text="Доставлено"),
    is_final=True,
    last_status_time=_STATUS_AT,
    sent_at=_SENT_AT,
    cost=records.Money(amount="0.20", currency="RUB"),
    state=records.LookupState.COMPLETED,
    reachability=records.Reachability.REACHABLE,
    reachable=True,
    imsi="250020123456789",
    msc="79168999100",
    home_network=records.Network(name="МегаФон", country="Россия", mcc="250", mnc="02"),
    roaming=records.Roaming(status=records.RoamingStatus.NOT_ROAMING),
)


def _shown(record: records.Record) -> dict[str, Any]:
    model = as_model(record, _FRESHNESS)
    return {"kind": record.kind, **model.model_dump(mode="json", by_alias=True)}


def selection(record: dict[str, Any]) -> dict[str, Any]:
    """A record of which its state and its error were asked for."""
    return {name: record[name] for name in ("kind", "id", "phone", "state", "error")}


MESSAGE = _shown(_MESSAGE)
LOOKUP = _shown(_LOOKUP)

CHANGE = {
    "cursor": "fDEyMzR8Nw",
    **_KEY,
    "kind": "Message",
    "at": "2026-01-15T10:00:20Z",
    **{
        name: MESSAGE[name]
        for name in ("state", "stateGroup", "isFinal", "providerStatus", "error", "lastStatusTime")
    },
    "source": "CALLBACK",
}

RESULTS = {
    "results": [
        {
            **_KEY,
            "outcome": Outcome.FOUND.value,
            "record": {"kind": "Message", **_KEY, "error": None, "state": "DELIVERED"},
            "problem": None,
        },
        {
            "id": "404",
            "phone": "79990000001",
            "outcome": Outcome.NOT_FOUND.value,
            "record": None,
            "problem": problem_of(errors.NotFound()).model_dump(by_alias=True),
        },
    ]
}


def _problem(leaf: type[errors.GatewayError]) -> dict[str, Any]:
    is_limit = leaf is errors.RateLimited
    error = errors.RateLimited(limit=errors.Limit.PER_MESSAGE) if is_limit else leaf()
    error.retry_after = 12 if leaf.retryable else None
    body: dict[str, Any] = orjson.loads(told("/v1/messages/1", error))
    return body | {"requestId": "5f0c6e1b9a3d2748"}


PROBLEMS = {
    leaf.code: {"value": _problem(leaf)}
    for leaf in STATUS
    if leaf not in {errors.QueryTooComplex, errors.RouteNotFound}
}
"""Each problem of the gateway's own that an operation has, by its code."""


def line(value: object) -> str:
    """As it is sent: JSON in one line."""
    return orjson.dumps(value).decode()


FORECAST = Forecast(
    requests=1, mass=1, served=Served(live=40, cache=60), all_known_by=_OBSERVED_AT
).model_dump(mode="json", by_alias=True)

FOLLOW = FollowStatus(
    id="hT3yQ1m9Zr0XkE2b",
    name="newsletter of January",
    total=2,
    seen=1,
    final=1,
    not_found=0,
    by_state={"DELIVERED": 1},
    created_at=_SENT_AT,
    until=_SENT_AT + timedelta(days=3),
    done=False,
    estimate=Estimate(all_seen_by=_OBSERVED_AT),
).model_dump(mode="json", by_alias=True)

REFRESH = {"matched": 2, "follow": FOLLOW | {"name": "refresh"}}
