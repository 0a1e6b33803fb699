"""Who takes traces and metrics."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Collector:
    """Takes them over OTLP, as bytes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.metrics: list[bytes] = []
        self.app = Starlette(
            routes=[
                Route("/v1/traces", self.take, methods=["POST"]),
                Route("/v1/metrics", self.take, methods=["POST"]),
            ]
        )

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        if request.url.path == "/v1/metrics":
            self.metrics.append(body)
        return Response(media_type="application/x-protobuf")

    def text(self) -> str:
        """All that was told; strings stand in Protocol Buffers as they are."""
        return b"".join(self.bodies).decode(errors="replace")
