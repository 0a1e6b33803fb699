"""Tokens: only the issuer's, only for us, only while they hold; and the issuer is left in peace."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as ScopeOfASGI

from gateway.callers import fetch
from gateway.callers.file import ClientsFileError
from gateway.callers.jwt import (
    _REGISTRY,
    ALGORITHMS,
    FIRST_RETRY,
    LEEWAY,
    MAX_SEEN,
    REFRESH,
    RETRY,
    Key,
    parse_keys,
)
from gateway.callers.model import ALL_SCOPES, Allowance, Caller, Scope
from gateway.callers.registry import Callers
from gateway.errors import GatewayError, Overloaded, QuotaExceeded, Unauthenticated
from tests.support.callers import client
from tests.support.clock import START
from tests.support.server import closed_port, serving

pytestmark = pytest.mark.anyio

NOW = int(START)
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example/",
    "aud": "smsc-gateway",
    "sub": "ann",
    "exp": NOW + 600,
    "scope": "openid status:read content:read",
}
RULES = """
[jwt]
issuer = "https://id.example/"
audience = ["smsc-gateway", "other"]
"""


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


RSA, OTHER = rsa("rsa"), rsa("other")
EC, ED = ECKey.generate_key("P-256", {"kid": "ec"}), OKPKey.generate_key("Ed25519", {"kid": "ed"})


def jwks(*keys: Key, more: Iterable[object] = ()) -> bytes:
    return orjson.dumps({"keys": [*more, *(key.as_dict(private=False) for key in keys)]})


def token(
    key: Key = RSA, alg: str = "RS256", header: Mapping[str, object] = {}, **claims: object
) -> str:
    """A good token but for what is named; a claim of None is left out."""
    told = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    head = {"alg": alg, "kid": key.kid, **header}
    head = {name: value for name, value in head.items() if value is not None}
    return jwt.encode(head, told, key, registry=_REGISTRY)


def forged(header: object, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token put together by hand, as joserfc would not."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, CLAIMS)]
    signed = b".".join(part.rstrip(b"=") for part in parts)
    return (signed + b"." + base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")).decode()


@dataclass
class Issuer:
    """Counts who asks for its keys."""

    keys: bytes = b""
    status: int = 200
    asked: int = 0
    held: asyncio.Event | None = field(default=None)

    async def __call__(self, scope: ScopeOfASGI, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert Request(scope).url.path == "/jwks.json"
        self.asked += 1
        await Response(self.keys, self.status)(scope, receive, send)

    async def fetch(self, url: str) -> bytes:
        """Without a network."""
        assert url == "https://id.example/jwks.json"
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if self.status != 200:
            raise ConnectionError(f"HTTP {self.status}")
        return self.keys


def known_by(folder: Path, issuer: Issuer, rules: str = RULES) -> Callers:
    path = folder / "clients.toml"
    path.write_text(rules + 'jwks_url = "https://id.example/jwks.json"\n')
    return Callers(path, allow_anonymous=False, fetch=issuer.fetch)


async def told(known: Callers, sent: str, now: float = START) -> Caller | GatewayError:
    try:
        return await known.authenticate(f"Bearer {sent}", now, address="192.0.2.1")
    except GatewayError as error:
        return error


def name_of(found: Caller | GatewayError) -> str:
    assert isinstance(found, Caller), found
    return found.name


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(jwks(RSA, EC, ED))


@pytest.fixture
def known(tmp_path: Path, issuer: Issuer) -> Callers:
    return known_by(tmp_path, issuer)


@contextmanager
def over_http(folder: Path, issuer: Issuer) -> Iterator[Callers]:
    path = folder / "clients.toml"
    with serving(issuer) as address:
        path.write_text(f'{RULES}jwks_url = "{address}/jwks.json"\n')
        yield Callers(path, allow_anonymous=False, fetch=fetch.fetch)


async def test_keys_come_over_http(tmp_path: Path, issuer: Issuer) -> None:
    with over_http(tmp_path, issuer) as known:
        assert name_of(await told(known, token())) == "jwt:ann"
        assert name_of(await told(known, token(EC, "ES256"))) == "jwt:ann"
    assert issuer.asked == 1


async def test_an_unknown_key_is_asked_for_once_a_minute(tmp_path: Path, issuer: Issuer) -> None:
    with over_http(tmp_path, issuer) as known:
        await told(known, token())
        issuer.keys = jwks(RSA, OTHER)
        late = START + RETRY
        assert isinstance(await told(known, token(OTHER), late - 0.001), Unauthenticated)
        assert issuer.asked == 1
        assert name_of(await told(known, token(OTHER), late)) == "jwt:ann"
        assert issuer.asked == 2
        for _ in range(20):
            await told(known, token(rsa("unknown")) if _ == 0 else forged({"alg": "RS256"}), late)
    assert issuer.asked == 2


@pytest.mark.parametrize(
    ("status", "keys"), [(500, b""), (302, b""), (200, b"<html>"), (200, b" " * 300_000)]
)
async def test_an_issuer_that_fails_is_no_fault_of_the_caller(
    tmp_path: Path, status: int, keys: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with over_http(tmp_path, Issuer(keys, status)) as known:
        error = await told(known, token())
    assert isinstance(error, Overloaded)
    assert error.detail == "The token issuer's keys can't be fetched."
    assert error.retry_after == FIRST_RETRY
    assert caplog.records[-1].getMessage().startswith("the token issuer's keys can't be fetched: ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{closed}/", "http://[", "ftp://x"])
async def test_an_address_without_an_answer_is_an_oserror(url: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - any
        await fetch.fetch(url.format(closed=closed_port()))


async def test_an_issuer_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionError, match=r"^no answer within 0\.05 seconds$"):
            await fetch.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        *[(RSA, f"{family}{bits}") for family in ("RS", "PS") for bits in (256, 384, 512)],
        (EC, "ES256"),
        (ED, "EdDSA"),
        (ED, "Ed25519"),
    ],
)
async def test_signatures_of_these_kinds_are_taken(known: Callers, key: Key, alg: str) -> None:
    assert name_of(await told(known, token(key, alg))) == "jwt:ann"


def test_no_symmetric_algorithm_is_taken() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


async def test_what_a_token_tells(known: Callers, tmp_path: Path, issuer: Issuer) -> None:
    scopes = frozenset({Scope.STATUS_READ, Scope.CONTENT_READ})
    assert await told(known, token()) == Caller("jwt:ann", scopes, NOW + 600 + LEEWAY)
    rules = RULES + 'scope_claim = "roles"\nname_claim = "client_id"\n'
    rules += "quota_per_minute = 5\nmax_streams = 2\n"
    known = known_by(tmp_path, issuer, rules)
    sent = token(roles=["admin", *ALL_SCOPES], client_id="shop")
    assert await told(known, sent) == Caller(
        "jwt:shop", ALL_SCOPES, NOW + 600 + LEEWAY, Allowance(5, 2)
    )


@pytest.mark.parametrize("claimed", [None, "", "admin", ["admin"], [7, None], 7, {"a": 1}])
async def test_a_token_without_our_scopes_may_nothing(known: Callers, claimed: object) -> None:
    found = await told(known, token(scope=claimed))
    assert isinstance(found, Caller)
    assert found.scopes == frozenset()


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"aud": "somebody"}, "The token is not good here, by its aud."),
        ({"aud": ["somebody"]}, "The token is not good here, by its aud."),
        ({"aud": None}, "The token is not good here, by its aud."),
        ({"iss": "https://id.example"}, "The token is not good here, by its iss."),
        ({"iss": None}, "The token is not good here, by its iss."),
        ({"exp": None}, "The token is not good here, by its exp."),
        ({"exp": "tomorrow"}, "The token is not good here, by its exp."),
        ({"exp": True}, "The token is not good here, by its exp."),
        ({"exp": NOW - LEEWAY}, "The token has expired."),
        ({"nbf": NOW + LEEWAY + 1}, "The token is not good here, by its nbf."),
        ({"iat": NOW + LEEWAY + 1}, "The token is not good here, by its iat."),
        ({"sub": None}, "The token must name its caller, in sub."),
        ({"sub": ""}, "The token must name its caller, in sub."),
        ({"sub": "a" * 201}, "The token must name its caller, in sub."),
        ({"sub": 7}, "The token is not good here, by its sub."),
    ],
)
async def test_claims_are_checked(known: Callers, claims: dict[str, Any], sentence: str) -> None:
    error = await told(known, token(**claims))
    assert isinstance(error, Unauthenticated)
    assert error.detail == sentence
    assert known.throttle.wrong_keys == 0  # the issuer's own token is nobody's guess


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - LEEWAY + 1},
        {"exp": 10**15},
        {"exp": NOW + 0.5},
        {"exp": 1e300},
        {"nbf": NOW + LEEWAY},
        {"aud": ["somebody", "other"]},
        {"extra": {"claim": 1}},
    ],
)
async def test_claims_may_be(known: Callers, claims: dict[str, Any]) -> None:
    sent = token(**claims)
    assert name_of(await told(known, sent)) == "jwt:ann"
    assert name_of(await told(known, sent)) == "jwt:ann"


def _public_pem() -> bytes:
    return RSA.as_pem(private=False)


def _hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


@pytest.mark.parametrize(
    "sent",
    [
        forged({"alg": "none"}),
        forged({"alg": "none", "kid": "rsa"}),
        forged({"alg": "None", "kid": "rsa"}),
        forged({"alg": "HS256", "kid": "rsa"}, _hs256(_public_pem())),
        forged({"alg": "HS256", "kid": "rsa"}, _hs256(b"")),
        forged({"alg": "RS256", "kid": "rsa"}),
        forged({"alg": "RS256", "kid": "rsa"}, lambda _: b"\0" * 256),
        forged({"alg": "ES256", "kid": "ec"}, lambda _: b"\0" * 64),
        forged({"alg": "ES256", "kid": "rsa"}, lambda _: b"\0" * 64),
        forged({"alg": "RS256", "kid": ["rsa"]}),
        forged({"alg": ["RS256"], "kid": "rsa"}),
        forged({"kid": "rsa"}),
        forged({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1}),
        forged({"alg": "RS256", "kid": "rsa", "jwk": OTHER.as_dict(private=False)}),
        token(OTHER, header={"kid": "rsa"}),
        token(header={"b64": False, "crit": ["b64"]}),
        token()[:-1],
        token()[:-8] + "AAAAAAAA",
        token().replace(".", "..", 1),
        token() + ".",
        "e30.e30.e30",
        "W10.e30.e30",
        "ImFsZyI.e30.e30",  # the header is the text "alg"
        "MQ.e30.e30",
        "..",
        "a.b.c",
        "é.ü.ö",
    ],
    ids=count(),  # the keys are new in each process, and so are the tokens
)
async def test_what_the_issuer_did_not_sign_is_refused(known: Callers, sent: str) -> None:
    error = await told(known, sent)
    assert isinstance(error, Unauthenticated)
    assert error.detail == "The key or token is not known here."
    assert known.throttle.wrong_keys == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("RS256"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NAMES = st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "x5c", "typ", "zip"])


@given(JSON | st.dictionaries(NAMES, JSON))
def test_no_header_breaks_the_gateway(header: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        known = known_by(Path(folder), Issuer(jwks(RSA)))
        assert isinstance(asyncio.run(told(known, forged(header))), GatewayError)


async def test_signed_text_that_is_no_claims_is_refused(known: Callers) -> None:
    from joserfc import jws  # noqa: PLC0415 - for this test alone

    for text in (b"", b"[]", b"1", b"[" * 10_000, b"\xff"):
        sent = jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, text, RSA, registry=_REGISTRY)
        assert isinstance(await told(known, sent), Unauthenticated)


async def test_who_guesses_is_slowed_and_right_tokens_pass(known: Callers) -> None:
    errors = [await told(known, forged({"alg": "none", "n": n})) for n in range(10)]
    assert [type(error) for error in errors] == [Unauthenticated] * 6 + [QuotaExceeded] * 4
    assert name_of(await told(known, token())) == "jwt:ann"


async def test_a_token_needs_no_kid_where_there_is_one_key(tmp_path: Path) -> None:
    known = known_by(tmp_path, Issuer(jwks(RSA)))
    assert name_of(await told(known, token(header={"kid": None}))) == "jwt:ann"
    known = known_by(tmp_path, Issuer(jwks(RSA, OTHER)))
    assert isinstance(await told(known, token(header={"kid": None})), Unauthenticated)


async def test_a_token_seen_before_is_known_at_once_while_it_holds(known: Callers) -> None:
    sent = token(exp=NOW + 5)
    assert known.known(sent, START) is None
    await told(known, sent)
    end = NOW + 5 + LEEWAY
    assert known.known(sent, end - 0.001) == known.known(sent.encode(), START) is not None
    assert known.known(sent, end) is None
    error = await told(known, sent, end)
    assert isinstance(error, Unauthenticated)
    assert error.detail == "The token has expired."


async def test_tokens_seen_are_bounded(known: Callers) -> None:
    first = token()
    await told(known, first)
    with_key = known._tokens  # noqa: SLF001 - four thousand signatures would take a minute
    assert with_key is not None
    (caller,) = with_key._seen.values()  # noqa: SLF001
    with_key._seen |= {bytes([n // 256, n % 256]): caller for n in range(MAX_SEEN - 1)}  # noqa: SLF001
    assert known.known(first, START)
    await told(known, token(sub="bob"))
    assert known.known(first, START) is None
    assert len(with_key._seen) == MAX_SEEN  # noqa: SLF001


async def fetched() -> None:
    """Let a fetch in the background come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_keys_are_fetched_anew_every_hour_and_nobody_waits(
    known: Callers, issuer: Issuer
) -> None:
    sent = token()
    await told(known, sent)
    await told(known, sent, START + REFRESH - 1)
    assert issuer.asked == 1
    late, sent = START + REFRESH, token(exp=NOW + 9999)
    issuer.held = asyncio.Event()
    for _ in range(3):
        assert name_of(await told(known, sent, late)) == "jwt:ann"
    await fetched()
    assert issuer.asked == 2
    issuer.keys = jwks(EC)
    issuer.held.set()
    await fetched()
    assert known.known(sent, late) is None
    assert isinstance(await told(known, sent, late), Unauthenticated)  # its key was withdrawn
    assert issuer.asked == 2


async def test_tokens_stay_known_where_the_keys_are_the_same(
    known: Callers, issuer: Issuer
) -> None:
    first, second = token(exp=NOW + 9999), token(exp=NOW + 9999, sub="bob")
    await told(known, first)
    await told(known, second)
    assert known.known(second, START + REFRESH) is None  # that keys are due is looked at elsewhere
    await told(known, first, START + REFRESH)
    await fetched()
    assert issuer.asked == 2
    assert known.known(second, START + REFRESH)


@pytest.mark.parametrize(("status", "keys"), [(500, b""), (200, b"{}"), (200, b'{"keys": []}')])
async def test_old_keys_stay_in_use_when_the_issuer_fails(
    known: Callers, issuer: Issuer, status: int, keys: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sent = token(exp=NOW + 99_999)
    await told(known, sent)
    issuer.status, issuer.keys = status, keys
    late = START + REFRESH
    assert name_of(await told(known, sent, late)) == "jwt:ann"
    await fetched()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert known.known(sent, late + RETRY - 1)
    assert issuer.asked == 2
    assert name_of(await told(known, sent, late + RETRY)) == "jwt:ann"
    await fetched()
    assert issuer.asked == 3


async def test_the_first_keys_are_tried_for_more_often(known: Callers, issuer: Issuer) -> None:
    issuer.status = 500
    for second in range(int(FIRST_RETRY)):
        assert isinstance(await told(known, token(), START + second), Overloaded)
    assert issuer.asked == 1
    issuer.status = 200
    assert name_of(await told(known, token(), START + FIRST_RETRY)) == "jwt:ann"
    assert known.throttle.wrong_keys == 0


async def test_many_wait_for_one_fetch_though_who_began_it_leaves(
    known: Callers, issuer: Issuer
) -> None:
    issuer.held = asyncio.Event()
    first, *others = [asyncio.create_task(told(known, token(sub=f"s{n}"))) for n in range(5)]
    await fetched()
    first.cancel()
    await fetched()
    issuer.held.set()
    assert [name_of(await other) for other in others] == [f"jwt:s{n}" for n in range(1, 5)]
    assert issuer.asked == 1


async def test_a_file_read_anew_keeps_the_issuers_keys(
    known: Callers, issuer: Issuer, tmp_path: Path
) -> None:
    sent = token()
    await told(known, sent)
    issuer.status = 500
    with (tmp_path / "clients.toml").open("a") as file:
        file.write(client("a"))
    assert known.reload()
    assert known.known(sent, START)
    assert known.known("key of a", START)


async def test_what_is_open_ends_with_the_rules_that_let_it_in(
    known: Callers, tmp_path: Path
) -> None:
    caller = await told(known, token())
    assert isinstance(caller, Caller)
    with known.held(caller) as held:
        with (tmp_path / "clients.toml").open("a") as file:
            file.write(client("a"))
        assert known.reload()
        assert not held.lost.done()  # the rules are as they were
        (tmp_path / "clients.toml").write_text(client("a"))
        assert known.reload()
        assert held.lost.done()
        assert known.standing(caller, START) is None


async def test_what_is_open_ends_with_the_key_that_signed_it(
    known: Callers, issuer: Issuer
) -> None:
    callers = [await told(known, token(key, alg)) for key, alg in ((RSA, "RS256"), (EC, "ES256"))]
    with ExitStack() as opened:
        held = [opened.enter_context(known.held(o)) for o in callers if isinstance(o, Caller)]
        issuer.keys = jwks(EC)
        await told(known, token(exp=NOW + 9999), START + REFRESH)
        await fetched()
        assert [one.lost.done() for one in held] == [True, False]


def _weak() -> object:
    with pytest.warns(SecurityWarning):
        return RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)


def test_keys_for_other_uses_and_broken_ones_are_left_out() -> None:
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": ["RSA"], "kid": "list"},
        {"kty": "PQC", "kid": "new"},
        {"kty": "RSA", "kid": "broken", "n": "AQ", "e": "AA"},
        {"kty": "RSA", "kid": "half"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ", "kid": "off"},
        RSA.as_dict(private=False, use="enc", kid="enc"),
        _weak(),
        "text",
        None,
    ]
    assert set(parse_keys(jwks(EC, more=others))) == {"ec"}
    for raw in (jwks(more=others), b"[]", b"1", b"", b'{"keys": 1}', b'{"keys": {"a": 1}}'):
        with pytest.raises(ValueError, match="JWKS"):
            parse_keys(raw)


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"

    def make() -> Callers:
        path.write_text(RULES + 'jwks_file = "keys.json"\n')
        return Callers(path, allow_anonymous=False, fetch=Issuer().fetch)

    with pytest.raises(ClientsFileError, match=r"\[jwt\]: jwks_file can't be read: No such file"):
        make()
    (tmp_path / "keys.json").write_bytes(b"{}")
    with pytest.raises(ClientsFileError, match=r"\[jwt\]: jwks_file: that is no JWKS\.$"):
        make()
    (tmp_path / "keys.json").write_bytes(jwks(RSA))
    known = make()
    assert name_of(asyncio.run(told(known, token()))) == "jwt:ann"
    (tmp_path / "keys.json").write_bytes(jwks(OTHER))
    assert known.reload()
    assert isinstance(asyncio.run(told(known, token())), Unauthenticated)
    assert name_of(asyncio.run(told(known, token(OTHER)))) == "jwt:ann"


def test_without_the_extra_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway.callers.jwt")
    monkeypatch.delattr("gateway.callers.jwt")
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ClientsFileError, match=r"\[jwt\] needs the extra jwt: pip install 'smsc-"):
        known_by(tmp_path, Issuer())
