"""GraphQL over HTTP on one address."""

from typing import TYPE_CHECKING, cast

from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from strawberry.asgi import GraphQL

from gateway.web.graphql.schema import Context, schema
from gateway.web.problems import http_problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from starlette.websockets import WebSocket

    from gateway.web.state import State


class GraphQLView(GraphQL[Context, None]):
    """Strawberry's view with our context and errors."""

    def __init__(self) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        request: Request[State] = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as error:
            response = http_problem(request, error.status_code, error.reason)
            if error.status_code == 405:  # noqa: PLR2004 - RFC 9110 wants Allow with it
                response.headers["allow"] = "GET, POST"
        await response(scope, receive, send)

    async def get_context(
        self, request: "Request[State] | WebSocket", response: "Response | WebSocket"
    ) -> Context:
        return Context(cast("Request[State]", request))
