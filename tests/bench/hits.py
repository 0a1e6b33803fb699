"""A hit over HTTP, for the gateway as shipped and its peers: REST and GraphQL.

The gateway checks its caller's key and quota, counts, gives the request an id and writes its line
in the log; the peers do none of that. The answers are checked to be the same before they are timed.
"""

import importlib.util
import json
import random
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.gateways import CALLERS, KEYS, PHONE, RECORDS, Calls, gateway, with_provider
from tests.bench.harness import (
    ROUNDS,
    SECONDS,
    Bench,
    Figures,
    Row,
    Server,
    Work,
    loading,
    take_turns,
)
from tests.support import node

SCHEMA = Path(__file__).parent.parent.parent / "schema" / "schema.graphql"

FIELDS = """id phone isFinal lastStatusTime sentAt sender text
  cost { amount currency } freshness { stale }"""
ONE = f"""query One($id: ID!, $phone: String!) {{
  message(id: $id, phone: $phone) {{ {FIELDS} state stateGroup }}
}}"""
MANY = f"""query Many($items: [StatusKey!]!) {{
  statuses(items: $items) {{ record {{ {FIELDS} ... on Message {{ state stateGroup }} }} }}
}}"""

PATHS = [f"/v1/messages/{key['id']}?phone={PHONE}" for key in KEYS]
REST = Calls(PATHS)
ONE_RECORD = Calls(["/graphql"], [{"query": ONE, "variables": key} for key in KEYS])
MANY_RECORDS = Calls(
    ["/graphql"],
    [
        {"query": MANY, "variables": {"items": KEYS[n:] + KEYS[:n]}}
        for n in range(0, RECORDS, RECORDS // 10)
    ],
)


SHARE = 0.8
"""Of the highest rate, where latency is measured."""


class _Peers:
    """The gateway, and who answers GraphQL as it does."""

    def __init__(self, bench: Bench) -> None:
        self.gateway = gateway(bench)
        self._records = bench.folder / "records.json"
        self._records.write_text(json.dumps([one.json() for one in REST.answers(self.gateway)]))
        strawberry = with_provider(bench, "tests.bench.peers", "strawberry", LOG_LEVEL="warning")
        self.graphql = {"gateway": self.gateway, "Strawberry": strawberry}
        MANY_RECORDS.first(strawberry)  # so that it knows them
        try:
            script = str(node.packages() / "mercurius.mjs")
        except node.Unavailable as reason:
            print(f"without Mercurius: {reason}")
        else:
            self.graphql["Mercurius"] = bench.start("node", script, str(SCHEMA), str(self._records))
        self.rest = {"gateway": self.gateway}
        if importlib.util.find_spec("fastapi"):
            self.rest["FastAPI"] = bench.python("tests.bench.peers", "fastapi", str(self._records))


def _body(calls: Calls, servers: Mapping[str, Server]) -> bytes:
    """The answer, once it is known to be everybody's."""
    answers = {name: calls.first(server) for name, server in servers.items()}
    expected: Any = answers["gateway"].json()
    assert "errors" not in expected, expected
    for name, answer in answers.items():
        assert answer.json() == expected, f"{name} answers otherwise: {answer.text[:500]}"
    return answers["gateway"].content


def _works(bench: Bench, name: str, calls: Calls, servers: Mapping[str, Server]) -> dict[str, Work]:
    bare = bench.bare(name, _body(calls, servers))
    return {
        who: Work(server, calls.requests()) for who, server in {"bare": bare, **servers}.items()
    }


def _row(work: str, figures: Mapping[str, Figures], to: str, goal: str) -> Row:
    """The gateway beside the others; the ratio is to that one of them."""
    costs = {name: one.cost for name, one in figures.items()}
    ours, limit = costs.pop("gateway"), costs.pop("bare")
    ratio = figures[to].cost / ours
    return Row(
        work,
        f"bare {limit:.1f}",
        ", ".join(f"{name} {cost:,.1f}" for name, cost in costs.items()),
        f"{ours:.1f}",
        f"{ratio:.2f} of {to}",
        goal,
    )


def _rest(bench: Bench, peers: _Peers) -> list[Row]:
    works = _works(bench, "rest", REST, peers.rest)
    tags = [{"if-none-match": answer.headers["etag"]} for answer in REST.answers(peers.gateway)]
    unchanged = Work(peers.gateway, Calls(PATHS, more=tags).requests(), 304)
    figures = take_turns(works | {"304": unchanged})
    again, hit = figures.pop("304").cost, figures["gateway"].cost
    return [
        _row("REST hit", figures, "bare", ">= 0.60, then 0.75"),
        Row("its 304", f"hit {hit:.1f}", "", f"{again:.1f}", f"{hit / again:.2f} of hit", ">= 1"),
        _latency(works, figures["gateway"].rate * SHARE),
    ]


def _latency(works: Mapping[str, Work], rate: float) -> Row:
    """How much longer the slowest of a hundred takes than the middle one, at this rate."""
    seen: dict[str, list[tuple[float, float]]] = {"bare": [], "gateway": []}
    for _ in range(ROUNDS // 2):
        for name, those in seen.items():
            with loading(works[name]) as load:
                quantiles = statistics.quantiles(load.run_at(rate, SECONDS).waits, n=100)
            those.append((quantiles[98] / quantiles[49], quantiles[49] * 1e6))
    bare, ours = (statistics.median(ratio for ratio, _ in those) for those in seen.values())
    middle = statistics.median(wait for _, wait in seen["gateway"])
    return Row(
        f"REST hit at {SHARE:.0%} of its rate, p99 to p50",
        f"bare {bare:.1f} x",
        "",
        f"{middle:,.0f}",
        f"{ours:.1f} x",
        "<= 3 x",
    )


def _graphql(bench: Bench, peers: _Peers) -> list[Row]:
    without_strawberry = {
        name: server for name, server in peers.graphql.items() if name != "Strawberry"
    }
    one = take_turns(_works(bench, "one", ONE_RECORD, peers.graphql))
    many = take_turns(_works(bench, "many", MANY_RECORDS, peers.graphql))
    others = take_turns(_works(bench, "others", _other_lists(), without_strawberry))
    to = "Mercurius" if "Mercurius" in many else "bare"
    return [
        _row("GraphQL, 12 fields of one record", one, "bare", ">= 0.60"),
        _row("GraphQL, 12 fields of 100 records", many, to, ">= 2.0 of Mercurius"),
        _row("the same, each time another list", others, to, ">= 2.0 of Mercurius"),
    ]


def _other_lists() -> Calls:
    """Lists that nobody asked for within the last second: none was kept whole."""
    lists = [random.Random(n).sample(KEYS, RECORDS) for n in range(CALLERS * RECORDS)]
    return Calls(["/graphql"], [{"query": MANY, "variables": {"items": one}} for one in lists])


def rows() -> list[Row]:
    with ExitStack() as stack:
        bench = Bench(stack)
        peers = _Peers(bench)
        return [*_rest(bench, peers), *_graphql(bench, peers)]
