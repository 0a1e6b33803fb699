"""How the webhooks are doing: `GET /v1/webhooks`, for whoever runs the gateway."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import ArchiveOff
from gateway.model.described import Model
from gateway.web.http.state import State
from gateway.webhooks.report import WebhookReport


class WebhookReports(Model):
    """All addresses that are told of changes."""

    webhooks: list[WebhookReport]
    """In the order of the clients file."""


async def list_webhooks(request: Request[State]) -> Response:
    webhooks = request.state["webhooks"]
    if webhooks is None:
        raise ArchiveOff
    told = WebhookReports(webhooks=await webhooks.reports())
    body = orjson.dumps(told.model_dump(mode="json", by_alias=True))
    return Response(body, 200, {"cache-control": "no-store"}, "application/json")
