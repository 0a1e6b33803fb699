"""Keys open the door to whom they belong, while they do; wrong ones cost little."""

import logging
import tracemalloc
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.callers.file import ClientsFileError
from gateway.callers.model import ALL_SCOPES, Caller, Scope
from gateway.callers.quota import MAX_ADDRESSES
from gateway.callers.registry import Callers
from gateway.errors import QuotaExceeded, Unauthenticated
from tests.support.callers import ANONYMOUS, callers, client, no_fetch
from tests.support.clock import START

pytestmark = pytest.mark.anyio

EXPIRES = "expires = 2027-01-15T08:00:00Z"  # START
STATUS = frozenset({Scope.STATUS_READ})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.toml"


def read_anew(known: Callers, path: Path, text: str) -> bool:
    path.write_text(text)
    return known.reload()


async def refused(known: Callers, authorization: str | None, now: float = START) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await known.authenticate(authorization, now)
    assert caught.value.detail is not None
    return caught.value.detail


@pytest.mark.parametrize(
    "authorization", ["Bearer key of a", "bearer key of a", "BEARER  key of a ", " Bearer key of a"]
)
async def test_a_key_tells_its_caller(path: Path, authorization: str) -> None:
    known = callers(path, client("a", scopes=STATUS) + client("b"))
    assert await known.authenticate(authorization, START) == Caller("a", STATUS)
    assert known.known(b"key of a", START) == known.known("key of a", START)
    assert known.throttle.wrong_keys == 0


@pytest.mark.parametrize(
    ("authorization", "sentence"),
    [
        (None, "A key is needed: send `Authorization: Bearer KEY`."),
        ("", "The key must be sent as `Authorization: Bearer KEY`."),
        ("key of a", "The key must be sent as `Authorization: Bearer KEY`."),
        ("Bearer", "The key must be sent as `Authorization: Bearer KEY`."),
        ("Bearer ", "The key must be sent as `Authorization: Bearer KEY`."),
        ("Basic a2V5IG9mIGE=", "The key must be sent as `Authorization: Bearer KEY`."),
        ("Bearer key of b", "The key or token is not known here."),
        ("Bearer KEY OF A", "The key or token is not known here."),
        ("Bearer key of a.b.c", "The key or token is not known here."),
        ("Bearer \ud800\xff", "The key or token is not known here."),
    ],
)
async def test_who_has_no_key_is_told_what_is_wrong(
    path: Path, authorization: str | None, sentence: str
) -> None:
    known = callers(path, client("a"))
    assert await refused(known, authorization) == sentence


def test_a_hash_is_no_key(path: Path) -> None:
    known = callers(path, client("a"))
    assert known.known(sha256(b"key of a").hexdigest(), START) is None
    assert known.known(sha256(b"key of a").digest(), START) is None


def test_keys_are_rotated_one_beside_the_other(path: Path) -> None:
    known = callers(path, client("a", "old", "new"))
    assert known.known("old", START) == known.known("new", START) == Caller("a", ALL_SCOPES)
    path.write_text(client("a", "new"))
    assert known.reload()
    assert known.known("old", START) is None
    assert known.known("new", START) is not None


async def test_a_key_ends_at_its_second(path: Path) -> None:
    known = callers(path, client("a", more=EXPIRES))
    assert known.known("key of a", START - 0.001)
    assert known.known("key of a", START) is None
    assert await refused(known, "Bearer key of a") == "The key has expired."
    assert known.throttle.wrong_keys == 0  # it is nobody's guess


async def test_without_a_file_everybody_is_let_in() -> None:
    known = Callers(None, allow_anonymous=False, fetch=no_fetch)
    assert not known.are_known
    for authorization in (None, "Bearer what", "Basic what"):
        assert await known.authenticate(authorization, START) == ANONYMOUS
    assert not known.reload()


async def test_anonymous_callers_beside_those_with_keys(path: Path) -> None:
    known = callers(path, client("a", scopes=STATUS), allow_anonymous=True)
    assert await known.authenticate(None, START) == ANONYMOUS
    assert (await known.authenticate("Bearer key of a", START)).name == "a"
    await refused(known, "Bearer wrong")


async def test_a_file_read_anew_keeps_quotas(path: Path) -> None:
    known = callers(path, client("a", more="quota_per_minute = 2"))
    caller = await known.authenticate("Bearer key of a", START)
    known.quota.take(caller, 0)
    assert read_anew(known, path, client("a", "another key", more="quota_per_minute = 2"))
    caller = await known.authenticate("Bearer another key", START)
    known.quota.take(caller, 1)
    with pytest.raises(QuotaExceeded):
        known.quota.take(caller, 2)


@pytest.mark.parametrize("text", ["", "rubbish", client("b") * 2, None])
def test_a_bad_file_changes_nothing(
    path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    known = callers(path, client("a"))
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert not known.reload()
    assert known.known("key of a", START)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path}")
    assert record.getMessage().endswith("What was read before stays.")


def test_a_bad_file_at_first_is_no_start(path: Path) -> None:
    with pytest.raises(ClientsFileError, match="names nobody"):
        callers(path, "")


def test_what_stays_open_can_be_asked_for_again(path: Path) -> None:
    known = callers(path, client("a", more=EXPIRES) + client("b"))
    a, b = known.known("key of a", START - 1), known.known("key of b", START)
    assert a is not None
    assert b is not None
    assert known.standing(a, START - 1) == a
    assert known.standing(a, START) is None
    path.write_text(client("a", scopes=STATUS))
    assert known.reload()
    assert known.standing(a, START) == Caller("a", STATUS)
    assert known.standing(b, START) is None
    assert known.standing(ANONYMOUS, START) is None  # none is let in beside those with keys


def test_a_caller_stands_by_the_key_it_came_with(path: Path) -> None:
    known = callers(path, client("a", "leaked", "kept"))
    leaked, kept = known.known("leaked", START), known.known("kept", START)
    assert leaked is not None
    assert kept is not None
    path.write_text(client("a", "kept"))
    assert known.reload()
    assert known.standing(leaked, START) is None
    assert known.standing(kept, START) == kept


async def test_what_is_open_is_told_of_a_lost_key_or_scope(path: Path) -> None:
    def rewrite(text: str) -> None:
        path.write_text(text)
        assert known.reload()

    known = callers(path, client("a", "leaked", "kept") + client("b") + client("c", scopes=STATUS))
    found = [known.known(key, START) for key in ("leaked", "kept", "key of b", "key of c")]
    with ExitStack() as opened:
        held = [opened.enter_context(known.held(one)) for one in found if one is not None]
        rewrite(client("a", "kept") + client("b", scopes=STATUS) + client("c"))
        assert [one.lost.done() for one in held] == [True, False, True, False]
        told = [known.refusal(one.caller, START).code for one in (held[0], held[2])]
        assert told == ["UNAUTHENTICATED", "FORBIDDEN"]
    gone = held[1]
    rewrite(client("b"))
    assert not gone.lost.done()  # it is not open any more


async def test_ten_thousand_wrong_keys_cost_little_and_lock_nobody_out(path: Path) -> None:
    known = callers(path, client("a"))
    told: dict[type[Exception], int] = {}
    tracemalloc.start()
    for n in range(10_000):
        address = "192.0.2.1" if n % 2 else f"198.51.{n // 256}.{n % 256}"
        try:
            await known.authenticate(f"Bearer sgw_{n}", START, address=address)
        except (Unauthenticated, QuotaExceeded) as error:
            told[type(error)] = told.get(type(error), 0) + 1
        if n % 100 == 0:
            right = await known.authenticate("Bearer key of a", START, address="192.0.2.1")
            assert right.name == "a"
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told == {Unauthenticated: 5000 + 6, QuotaExceeded: 5000 - 6}
    assert known.throttle.wrong_keys == 10_000
    assert len(known.throttle) <= MAX_ADDRESSES
    assert size < 2_000_000
