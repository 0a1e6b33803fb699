"""The schemas that Pydantic models give the OpenAPI document. Open it to add a model.

Schemas without a class are written by hand in `openapi.yaml`.
"""

from typing import Any, Final, TypeAlias

from pydantic.json_schema import models_json_schema

from gateway.archive.summary import DeliveryTimes, RecordSummary
from gateway.callers.model import HIDDEN_WITHOUT
from gateway.model.described import twin
from gateway.model.records import HlrLookup, Message, Record, shown_fields
from gateway.upstream.forecast import Forecast
from gateway.upstream.history import LinkHistory
from gateway.upstream.status import LinkState
from gateway.web.http.problems import Problem
from gateway.web.rest.feed import RECORD, ChangeEvent
from gateway.web.rest.fields import HIDDEN, KINDS
from gateway.web.rest.follows import FollowList, FollowStatus
from gateway.web.rest.records import StatusResult
from gateway.web.rest.upkeep import Prewarm, Purge, Refresh
from gateway.web.rest.webhooks import WebhookReports

Json: TypeAlias = dict[str, Any]

_MODELS: Final = (
    twin(Message),
    twin(HlrLookup),
    StatusResult,
    Problem,
    LinkState,
    LinkHistory,
    RecordSummary,
    DeliveryTimes,
    ChangeEvent,
    WebhookReports,
    FollowStatus,
    FollowList,
    Forecast,
    Refresh,
    Purge,
    Prewarm,
)
"""The models they refer to are added by Pydantic."""


def schemas() -> Json:
    """The schemas by name; each kind of record has one for a selection of its fields as well."""
    _, document = models_json_schema(
        [(model, "serialization") for model in _MODELS],
        ref_template="#/components/schemas/{model}",
    )
    made: Json = document["$defs"]
    del made["StatusRecord"]  # GraphQL's interface; REST names the kinds
    made["ChangeEvent"]["required"].remove(RECORD)  # it comes where `fields` names it
    told = [made["StatusResult"]["properties"]["record"], made["ChangeEvent"]["properties"][RECORD]]
    told[1]["anyOf"] = [*told[0]["anyOf"]]
    for kind in KINDS:
        model = kind.__name__
        selection = _selection(made[model], made)
        selection |= {
            "title": f"{model}Selection",
            "description": f"Those fields of a {model} that were asked for.",
        }
        made[f"{model}Selection"] = selection
        for record in told:
            record["anyOf"].insert(-1, {"$ref": f"#/components/schemas/{model}Selection"})
        made[model]["properties"][HIDDEN] = _hidden(kind)
        made[model]["required"].remove("history")  # it comes where `fields` names it
    made["ChangeEventSelection"] = made["ChangeEvent"] | {
        "title": "ChangeEventSelection",
        "description": "Those members of a change that were asked for.",
        "required": ["cursor", "id", "phone", "kind"],
    }
    return made


def _selection(schema: Any, made: Json, *, inner: bool = False) -> Any:  # noqa: ANN401 - JSON
    """A schema of the same fields, of which any may be left out, and of inner ones as well."""
    if isinstance(schema, list):
        return [_selection(item, made, inner=True) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = made[schema["$ref"].rpartition("/")[2]]
        return schema if "enum" in named else _selection(named, made, inner=True)
    copied = {name: _selection(value, made, inner=True) for name, value in schema.items()}
    if "properties" in schema:
        copied["required"] = [] if inner else ["kind", "id", "phone"]
    return copied


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
