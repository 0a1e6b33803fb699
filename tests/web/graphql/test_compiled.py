"""The compiled path and Strawberry's agree on every operation, to the byte."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine

import pytest

from gateway.callers.model import ALL_SCOPES, Caller, Scope
from gateway.web.graphql.documents import Documents
from gateway.web.graphql.engine import Context, Engine, GraphQLRequest
from gateway.web.graphql.errors import RequestRefused, response
from gateway.web.graphql.schema import create_schema
from tests.support.callers import ANONYMOUS
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.support.operations import Generated, Generator
from tests.support.size import size, soak

pytestmark = pytest.mark.anyio

SCHEMA = create_schema()
OPERATIONS = 250
COLD_OPERATIONS = 50
"""Of each part."""
PARTS = size(small=2, whole=30)
COLD_PARTS = size(small=2, whole=8)
"""Run side by side; 7,500 operations in all, where it is the whole."""

BLIND = Caller("blind", ALL_SCOPES - {Scope.CONTENT_READ, Scope.IDENTITY_READ})
NOBODY = Caller("nobody", frozenset())


class Two:
    """The same schema executed in two ways."""

    def __init__(self) -> None:
        documents = Documents(SCHEMA)
        self.compiled = Engine(SCHEMA, documents)
        self.plain = Engine(SCHEMA, documents, compiles=False)
        self.seen: Counter[str] = Counter()

    async def told(self, engine: Engine, generated: Generated, context: Context) -> bytes:
        """The response body, whatever becomes of the request."""
        try:
            request = GraphQLRequest(generated.text, variables=generated.variables)
            prepared = engine.prepare(request)
            self.seen["compiled"] += prepared.calls_for(context.caller) is not None
            known = engine.execute_now(prepared, context.service, context.caller)
            if known is not None:
                return known.json
            return await engine.execute(prepared, context)
        except RequestRefused as refused:
            return b"refused " + response(None, refused.errors)

    async def compare(self, generated: Generated, context: Context) -> None:
        compiled = await self.told(self.compiled, generated, context)
        plain = await self.told(self.plain, generated, context)
        assert compiled == plain, (
            f"{generated.text}\n{generated.variables}\n{compiled!r}\n{plain!r}"
        )
        self.seen[kind_of(plain)] += 1


def context_of(setup: Setup, caller: Caller = ANONYMOUS) -> Context:
    return Context(setup.state["service"], setup.state["watches"], caller, "tests")


async def warm(setup: Setup) -> None:
    """Have everything known in full, so that both ways find the same."""
    for path in ("messages/1", "hlr-lookups/2", "messages/404"):
        await setup.client.get(f"/v1/{path}?phone=79990000001")
    await setup.message(3, "79990000003")
    await setup.message(100, "79990000100")


def kind_of(body: bytes) -> str:
    if body.startswith(b"refused"):
        return "refused"
    return "with errors" if b'"errors":' in body else "whole"


@soak
@pytest.mark.parametrize("part", range(PARTS))
async def test_both_ways_tell_the_same(part: int) -> None:
    two = Two()
    async with running() as setup:
        await warm(setup)
        for number in range(part * OPERATIONS, (part + 1) * OPERATIONS):
            chance = random.Random(number)
            generated = Generator(SCHEMA, chance).operation()
            caller = chance.choice([ANONYMOUS] * 8 + [BLIND, NOBODY])
            await two.compare(generated, context_of(setup, caller))
    seen, some = two.seen, OPERATIONS / 100
    # Else the comparison would say little. Histories, which are not compiled, are in many.
    assert seen["compiled"] > OPERATIONS / 3, seen
    assert min(seen["whole"], seen["with errors"], seen["refused"]) > some, seen


@soak
@pytest.mark.parametrize("part", range(COLD_PARTS))
async def test_both_ways_ask_the_provider_alike(part: int) -> None:
    """Two gateways that begin with nothing, each asked in one way, as time goes on."""
    two = Two()
    async with running() as first, running() as second:
        for number in range(part * COLD_OPERATIONS, (part + 1) * COLD_OPERATIONS):
            chance = random.Random(number)
            generated = Generator(SCHEMA, chance).operation()
            answers = await asyncio.gather(
                *(
                    in_time(two.told(engine, generated, context_of(setup)), setup)
                    for setup, engine in ((first, two.compiled), (second, two.plain))
                )
            )
            assert answers[0] == answers[1], generated
            pause = chance.choice([0, 1, 15, 70])
            for setup in (first, second):
                await setup.clock.advance(pause)
        asked = [await setup.asked() for setup in (first, second)]
        assert [(one["pairs"], one["all"]) for one in asked[0]] == [
            (one["pairs"], one["all"]) for one in asked[1]
        ]
        assert len(asked[0]) > COLD_OPERATIONS / 10


async def in_time(answer: Coroutine[None, None, bytes], setup: Setup) -> bytes:
    """The answer, with time going on while it is waited for."""
    task = asyncio.create_task(answer)
    await settle()
    while not task.done():
        await setup.clock.advance(0.25)
    return task.result()


MANY = "query Q($items: [StatusKey!]!) { statuses(items: $items) { outcome } }"
CASES = [
    Generated(MANY, {"items": [{"id": "1", "phone": "79990000001", "more": 1}]}),
    Generated(MANY, {"items": [{"id": "1"}]}),
    Generated(MANY, {"items": {"id": "1", "phone": "79990000001"}}),
    Generated(MANY, {"items": [None]}),
    Generated(MANY, {"items": [{"id": True, "phone": "79990000001"}]}),
    Generated(MANY, {"items": [{"id": 1.0, "phone": "79990000001"}]}),
    Generated(MANY, {"items": []}),
    Generated(
        """{ late: message(id: 404, phone: "79990000404") { id }
             soon: message(id: 0, phone: "79990000001") { id } }""",
        {},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_both_ways_tell_the_same_of_what_is_rare(case: Generated) -> None:
    """Errors stand in the order of their fields, whichever failed first."""
    two = Two()
    async with running() as first, running() as second:
        compiled = await two.told(two.compiled, case, context_of(first))
        assert compiled == await two.told(two.plain, case, context_of(second))
