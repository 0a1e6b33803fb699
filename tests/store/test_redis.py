"""What is written down of a record comes back whole, and only what is further on replaces it."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.freshness import Known
from gateway.model.records import Message, StatusKey
from gateway.replicas import NAME_SIZE, Replicas
from gateway.store.redis import KEPT, SharedStore
from tests.support.valkey import Valkey, until, valkey

KEY = StatusKey("79990000001", 1)
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


class Store(SharedStore):
    """A store that remembers what it heard, and what it would have told."""

    def __init__(self, replicas: Replicas) -> None:
        super().__init__(replicas, lambda: NOW, max_records=1000)
        self.heard: list[tuple[StatusKey, Known, bool]] = []
        self.on_news = lambda *news: self.heard.append(news)


@given(st.binary(max_size=200))
def test_any_bytes_are_passed_over(body: bytes) -> None:
    link = Replicas("unix:///nowhere", "account")
    store = Store(link)
    link.deliver(b"r" + b"0" * NAME_SIZE + body)
    link.deliver(body)
    assert store.heard == []


async def _kept(server: Valkey, account: str, *changes: Known) -> tuple[Known | None, float]:
    """What a newcomer is told after the changes, and for how many seconds it is kept."""
    writer, reader = Replicas(server.url, account), Replicas(server.url, account)
    store, late = Store(writer), Store(reader)
    async with writer, reader:
        for change in changes:
            store.put(KEY, change)
            await writer.run("return ''", [], [])  # else only the last is told
        await until(lambda: len(late.heard) == len(changes))
        assert store.heard == []  # who told it knows it
        late.heard.clear()
        await late.recall([KEY])
    left = server.client.pttl(writer.key("record", KEY))
    assert isinstance(left, int)
    return (late.heard[0][1] if late.heard else None), left / 1000


def message(state: str, *, certain: bool = True, observed_at: float = NOW) -> Known:
    told = f'{{{ESSENTIALS}, "state": "{state}"}}'
    return Known(msgspec.json.decode(told, type=Message), observed_at, NOW + 60, certain)


ESSENTIALS = (
    '"id": "1", "phone": "79990000001", "type": "SMS", "isFinal": false, '
    '"providerStatus": {"code": 0, "name": ""}, "stateGroup": "PENDING", '
    '"kind": "Message", "porting": {"status": "UNKNOWN"}, "smpp": {"code": 1, "name": ""}'
)
SENT, DELIVERED, GUESSED = message("SENT"), message("DELIVERED"), message("READ", certain=False)
MISSING = Known(None, NOW, NOW + 10, misses=1)
DELETED = Known(None, NOW, NOW + 10, misses=1, deleted=True)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ([SENT], SENT),
        ([SENT, DELIVERED], DELIVERED),
        ([DELIVERED, SENT], DELIVERED),
        ([SENT, message("SENT", observed_at=NOW + 1)], message("SENT", observed_at=NOW + 1)),
        ([SENT, MISSING], SENT),
        ([MISSING, SENT], SENT),
        ([GUESSED, SENT], SENT),
        ([DELIVERED, DELETED], DELETED),
        ([DELETED, DELIVERED], DELETED),
    ],
)
def test_what_is_further_on_is_kept(server: Valkey, changes: list[Known], kept: Known) -> None:
    found, left = asyncio.run(_kept(server, repr(changes), *changes))
    assert found == kept
    # What was deleted may come again; nobody asks for it that long.
    assert left == pytest.approx(10 if kept.deleted else KEPT, abs=5)
