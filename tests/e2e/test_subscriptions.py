"""Subscriptions with the clients that others use, against real processes.

A watched message is polled every 15 seconds. Here nobody waits for that: a caller who asks for the
newest state brings the change in, and the watchers are told as well.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from tests.support import node
from tests.support.process import PHONE, Served, command, gateway, served
from tests.support.server import closed_port
from tests.support.size import PATIENCE

RETRIES = 1000
"""Five a second: the next process may be slow to start."""

IDS = count(1001)
"""Each test has messages of its own."""

FIELDS = "__typename isFinal providerStatus { name } ... on Message { state }"
SUBSCRIPTION = f"""subscription Watch($id: ID!, $phone: String!) {{
  status(id: $id, phone: $phone) {{ {FIELDS} }}
}}"""
QUERY = SUBSCRIPTION.replace("subscription Watch", "query Ask")

QUEUED, SENT, DELIVERED = -1, 0, 1
RECORDS = {
    status: {
        "__typename": "Message",
        "isFinal": is_final,
        "providerStatus": {"name": name},
        "state": state,
    }
    for status, state, name, is_final in (
        (QUEUED, "QUEUED", "Waiting to be sent", False),
        (SENT, "SENT", "Handed over to the operator", False),
        (DELIVERED, "DELIVERED", "Delivered", True),
    )
}
"""What is told of each status."""

protocols = pytest.mark.parametrize("protocol", ["ws", "sse"])


def of(query: str, id_: int) -> dict[str, Any]:
    return {"query": query, "variables": {"id": str(id_), "phone": PHONE}}


@contextmanager
def subscribed(
    served: Served, protocol: str, *, retries: int = 0, **operations: object
) -> Iterator[node.Running]:
    arguments = (protocol, f"{served.gateway}/graphql", str(retries), json.dumps(operations))
    with node.running("subscribe.mjs", *arguments) as script:
        yield script


def told(name: str, status: int) -> list[object]:
    return [name, "next", {"data": {"status": RECORDS[status]}}]


def errors_of(news: list[Any]) -> list[dict[str, Any]]:
    """GraphQL's errors, told as an `error` or, as SSE does for want of one, by `next`."""
    (kind, content), *_ = news
    errors: list[dict[str, Any]] = content if kind == "error" else content["errors"]
    return errors


@protocols
def test_a_subscriber_is_told_at_once_and_of_each_change(served: Served, protocol: str) -> None:
    id_ = next(IDS)
    served.tell(id_, QUEUED)
    with subscribed(served, protocol, it=of(SUBSCRIPTION, id_)) as script:
        assert script.next() == told("it", QUEUED)
        for status in (SENT, DELIVERED):
            served.tell(id_, status)
            served.look(id_)
            assert script.next() == told("it", status)
        assert script.next() == ["it", "complete"]


def test_subscribers_of_one_message_share_one_poll(served: Served) -> None:
    """Two over one socket, and one more over SSE."""
    id_ = next(IDS)
    operation = of(SUBSCRIPTION, id_)
    served.tell(id_, QUEUED)
    before = served.asked()
    with (
        subscribed(served, "ws", one=operation, two=operation) as both,
        subscribed(served, "sse", three=operation) as third,
    ):
        assert sorted(both.next()[0] for _ in range(2)) == ["one", "two"]
        assert third.next() == told("three", QUEUED)
        assert served.asked() == before + 1
        served.tell(id_, DELIVERED)
        served.look(id_)
        news = [*both.rest(), *third.rest()]
        for name in ("one", "two", "three"):
            assert [one for one in news if one[0] == name] == [
                told(name, DELIVERED),
                [name, "complete"],
            ]
        assert served.asked() == before + 2


@protocols
def test_queries_and_mistakes_go_the_same_way(served: Served, protocol: str) -> None:
    id_ = next(IDS)
    served.tell(id_, DELIVERED)
    mistake = {"query": "subscription { nonsense }"}
    with subscribed(
        served, protocol, watch=of(SUBSCRIPTION, id_), ask=of(QUERY, id_), mistake=mistake
    ) as script:
        news = script.rest()
    by_name = {name: [rest for one, *rest in news if one == name] for name, *_ in news}
    answer = [told("", DELIVERED)[1:], ["complete"]]
    assert by_name["watch"] == answer
    assert by_name["ask"] == answer
    assert [kind for kind, *_ in by_name["mistake"]] == (
        ["error"] if protocol == "ws" else ["next", "complete"]
    )
    (error,) = errors_of(by_name["mistake"])
    assert error["message"] == "Cannot query field 'nonsense' on type 'Subscription'."


@protocols
def test_a_bad_key_ends_it_with_its_reason(served: Served, protocol: str) -> None:
    operation = {"query": SUBSCRIPTION, "variables": {"id": "0", "phone": PHONE}}
    with subscribed(served, protocol, it=operation) as script:
        news = script.rest()
    (error,) = errors_of([rest for name, *rest in news if name == "it"])
    assert error["extensions"]["code"] == "INVALID_ARGUMENT"


@protocols
def test_a_server_that_stops_cuts_its_streams(tmp_path: Path, protocol: str) -> None:
    """Not with `complete`: clients are to come back and go on with the next process."""
    id_ = next(IDS)
    with served(tmp_path) as running:
        running.tell(id_, QUEUED)
        with subscribed(running, protocol, it=of(SUBSCRIPTION, id_)) as script:
            assert script.next() == told("it", QUEUED)
            running.process.terminate()
            running.process.wait(PATIENCE)
            news = script.rest()
    assert ["it", "complete"] not in news
    assert "error" in [kind for _, kind, *_ in news]
    if protocol == "ws":
        assert ["", "closed", 1012] in news


@protocols
def test_a_subscriber_goes_on_with_the_next_process(tmp_path: Path, protocol: str) -> None:
    id_, port = next(IDS), closed_port()
    with ExitStack() as stack:
        _, provider = stack.enter_context(command("simulator", "--port", "0"))
        with gateway(provider, tmp_path, port) as first:
            first.tell(id_, QUEUED)
            script = stack.enter_context(
                subscribed(first, protocol, retries=RETRIES, it=of(SUBSCRIPTION, id_))
            )
            assert script.next() == told("it", QUEUED)
        first.tell(id_, DELIVERED)
        with gateway(provider, tmp_path, port):
            news = [one for one in script.rest() if one[0] == "it"]
    assert news[-2:] == [told("it", DELIVERED), ["it", "complete"]]


def over_websocket(served: Served) -> Client:
    transport = WebsocketsTransport(
        f"{served.gateway.replace('http', 'ws')}/graphql",
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    return Client(transport=transport, fetch_schema_from_transport=True)


def over_http(served: Served) -> Client:
    return Client(
        transport=HTTPXAsyncTransport(f"{served.gateway}/graphql"), fetch_schema_from_transport=True
    )


@pytest.mark.anyio
async def test_python_subscribes(served: Served) -> None:
    id_ = next(IDS)
    ahead = [SENT, DELIVERED]
    served.tell(id_, QUEUED)
    results = []
    async with over_websocket(served) as session:
        async for result in session.subscribe(_request(SUBSCRIPTION, id_)):
            results.append(result["status"])
            if ahead:
                served.tell(id_, ahead.pop(0))
                await asyncio.to_thread(served.look, id_)
    assert results == [RECORDS[QUEUED], RECORDS[SENT], RECORDS[DELIVERED]]


@pytest.mark.anyio
@pytest.mark.parametrize("connect", [over_http, over_websocket])
async def test_python_asks(served: Served, connect: Callable[[Served], Client]) -> None:
    id_ = next(IDS)
    served.tell(id_, DELIVERED)
    async with connect(served) as session:
        assert await session.execute(_request(QUERY, id_)) == {"status": RECORDS[DELIVERED]}
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(_request(QUERY, 404))
    assert refused.value.errors is not None
    assert refused.value.errors[0]["extensions"]["code"] == "NOT_FOUND"


def _request(query: str, id_: int) -> GraphQLRequest:
    request = gql(query)
    request.variable_values = {"id": str(id_), "phone": PHONE}
    return request
