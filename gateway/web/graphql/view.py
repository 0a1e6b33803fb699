"""GraphQL over HTTP on one address."""

from typing import TYPE_CHECKING, Any

from cross_web import HTTPException
from starlette.requests import Request
from strawberry.asgi import GraphQL

from gateway.web.graphql.schema import Context, schema
from gateway.web.pages import playground_page
from gateway.web.problems import http_problem

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send


class GraphQLView(GraphQL[Context, None]):
    """Strawberry's view with our context and errors."""

    def __init__(self) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        request = Request(scope, receive)
        if request.method == "GET" and _wants_page(request):
            await playground_page()(scope, receive, send)
            return
        await request.body()  # kept in the request; a body too long is told here, not masked
        try:
            response = await self.run(request)
        except HTTPException as error:
            response = http_problem(request, error.status_code, error.reason)
            if error.status_code == 405:  # noqa: PLR2004 - RFC 9110 wants Allow with it
                response.headers["allow"] = "GET, POST"
        await response(scope, receive, send)

    async def get_context(self, request: Any, response: "Response | object") -> Context:  # noqa: ANN401, ARG002
        """`request` carries the lifespan's state; `response` is the base's own."""
        return Context(request)


def _wants_page(request: Request) -> bool:
    return "query" not in request.query_params and "text/html" in request.headers.get("accept", "")
