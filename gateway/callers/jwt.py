"""Tokens of an issuer (JWT, RFC 7519), checked by its published keys (JWKS, RFC 7517).

Only signatures are taken that need a private key: an issuer's public key can sign nothing. This
is the home of joserfc, which is there with the extra `jwt`.
"""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import orjson
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from gateway.callers.file import JwtRules
from gateway.callers.model import Caller, Scope, Signer, WrongKey
from gateway.errors import Overloaded, Unauthenticated

log = logging.getLogger(__name__)

LEEWAY = 30
"""Seconds that the issuer's clock may differ from ours."""

REFRESH = 3600.0
"""Seconds after which the keys are fetched anew."""

RETRY = 60.0
"""Seconds between two fetches for a key that is not known, or after one that failed."""

FIRST_RETRY = 10.0
"""The same while there are no keys at all."""

MAX_SEEN = 4096
"""Tokens whose signature is not checked again; the oldest are forgotten first."""

MAX_NAME = 200
"""Length of the name in a token."""

ALGORITHMS = frozenset(
    [f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)]
    + ["EdDSA", "Ed25519"]
)

Key: TypeAlias = RSAKey | ECKey | OKPKey
Keys: TypeAlias = dict[str | None, Key]
Load: TypeAlias = Callable[[], Awaitable[bytes]]
"""Gives the issuer's keys as JSON; `OSError` where that can't be done."""


class _Registry(jws.JWSRegistry):
    """Our algorithms alone. The name EdDSA is deprecated (RFC 9864), but what issuers write."""

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 - joserfc does not export its type
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)  # issuers add headers; `crit` is still honoured


class Tokens:
    """Tells whose token it is.

    `keys` are the issuer's as they are known already. `on_change` is called when they have changed.
    """

    def __init__(
        self,
        rules: JwtRules,
        load: Load,
        *,
        keys: "Keys | None" = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.rules = rules
        self._on_change = on_change
        self._keys = IssuerKeys(load, self._forget, keys)
        self._seen: dict[bytes, Caller] = {}

    def seen(self, digest: bytes, now: float) -> Caller | None:
        """Whose token with this hash it was, if it was checked by keys that are still good."""
        caller = self._seen.get(digest)
        if caller is None or now >= (caller.expires_at or 0) or self._keys.is_due(now):
            return None
        return caller

    async def verify(self, token: bytes, digest: bytes, now: float) -> Caller:
        """Whose token it is; `digest` is its hash, `now` in seconds since 1970.

        Raises `WrongKey`, `Unauthenticated` for a token of the issuer that is not good here or
        no longer, and `Overloaded` while the issuer's keys can't be had.
        """
        signed, kid = _extract(token)
        key = await self._keys.find(kid, now)
        caller = self._caller(_claims(signed, key), now, Signer(self.rules, kid, public(key)))
        if len(self._seen) >= MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[digest] = caller
        return caller

    def stands(self, signer: Signer) -> bool:
        """Is what this signer has signed still good: by the same rules, with a key of today?"""
        return signer.rules == self.rules and self._keys.has(signer.kid, signer.key)

    def _forget(self) -> None:
        self._seen.clear()
        self._on_change()

    def _caller(self, claims: dict[str, Any], now: float, signer: Signer) -> Caller:
        rules = self.rules
        checks = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=LEEWAY,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "values": rules.audience},
            exp={"essential": True},
        )
        try:
            checks.validate(claims)
        except ExpiredTokenError:
            raise Unauthenticated("The token has expired.") from None
        except JoseError as error:
            claim = str(getattr(error, "claim", "")) or "a claim"
            raise Unauthenticated(f"The token is not good here, by its {claim}.") from None
        name = claims.get(rules.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise Unauthenticated(f"The token must name its caller, in {rules.name_claim}.")
        return Caller(
            f"jwt:{name}",  # no client of the file has a colon
            _scopes(claims.get(rules.scope_claim)),
            float(claims["exp"]) + LEEWAY,
            rules.allowance,
            self._accounts(claims),
            signer,
        )

    def _accounts(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        """Those the token or the file names; a token that is to name some and does not: none."""
        rules = self.rules
        if rules.account_claim is None:
            return None if rules.account is None else frozenset(rules.account)
        return frozenset(_words(claims.get(rules.account_claim)))


class IssuerKeys:
    """The issuer's public keys, by their id.

    They are fetched at first use, every hour, and for an unknown id, which is how issuers change
    their keys. What is known stays in use while they are fetched, and when that fails.
    """

    def __init__(
        self,
        load: Load,
        on_change: Callable[[], None] = lambda: None,
        keys: "Keys | None" = None,
    ) -> None:
        self._load = load
        self._on_change = on_change
        self._raw = b""
        self._keys: Keys = keys or {}
        self._asked_at = float("-inf")
        self._due_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def is_due(self, now: float) -> bool:
        """Is it time to fetch the keys anew?"""
        return now >= self._due_at

    def has(self, kid: str | None, key: Mapping[str, object]) -> bool:
        """Is this one of the keys, as they are known now?"""
        found = self._pick(kid)
        return found is not None and public(found) == key

    async def find(self, kid: str | None, now: float) -> Key:
        """The key of this id; None: of a token that names no key, where there is but one.

        Raises `WrongKey`, or `Overloaded` while there are no keys at all.
        """
        key = self._pick(kid)
        if self.is_due(now) or (key is None and not 0 <= now - self._asked_at < RETRY):
            self._start(now)
        if key is None and self._fetching is not None:
            await asyncio.shield(self._fetching)  # who began it may leave, others wait for it too
            key = self._pick(kid)
        if key is None and not self._keys:
            raise Overloaded(
                "The token issuer's keys can't be fetched.", retry_after=self._due_at - now
            )
        if key is None:
            raise WrongKey
        return key

    def _pick(self, kid: str | None) -> Key | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _start(self, now: float) -> None:
        if self._fetching is None:
            self._asked_at = now
            self._fetching = asyncio.create_task(self._fetch(now))

    async def _fetch(self, now: float) -> None:
        try:
            raw = await self._load()
            keys = parse_keys(raw)
        except (OSError, ValueError) as error:
            log.warning("the token issuer's keys can't be fetched: %s", error)
            self._due_at = now + (RETRY if self._keys else FIRST_RETRY)
        else:
            self._due_at = now + REFRESH
            if raw != self._raw:
                self._raw, self._keys = raw, keys
                self._on_change()
        finally:
            self._fetching = None


def public(key: Key) -> Mapping[str, object]:
    """What tells a key from others."""
    told: Mapping[str, object] = key.as_dict(private=False)
    return told


def parse_keys(raw: bytes) -> Keys:
    """The keys of a JWKS that can check signatures, by id. `ValueError`: there are none."""
    try:
        listed = orjson.loads(raw)["keys"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("that is no JWKS") from None
    keys: Keys = {}
    for one in listed if isinstance(listed, list) else []:
        key = _key(one)
        if key is not None:
            keys.setdefault(key.kid, key)
    if not keys:
        raise ValueError("no key in the JWKS can check a signature")
    return keys


def _key(one: Any) -> Key | None:  # noqa: ANN401 - JSON
    """One key; None: it is for something else, too weak, or broken (RFC 7517, section 5)."""
    if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        with warnings.catch_warnings(action="error", category=SecurityWarning):
            key = import_key(one)
        key.check_use("sig")
    except (JoseError, ValueError, TypeError, KeyError, SecurityWarning):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def _extract(token: bytes) -> tuple[jws.CompactSignature, str | None]:
    try:
        signed = jws.extract_compact(token, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, AttributeError):
        raise WrongKey from None
    header: object = signed.protected
    if not isinstance(header, dict) or not isinstance(header.get("kid", ""), str):
        raise WrongKey
    return signed, header.get("kid")


def _claims(signed: jws.CompactSignature, key: Key) -> dict[str, Any]:
    try:
        good = jws.validate_compact(signed, key, registry=_REGISTRY)
        claims = orjson.loads(signed.payload) if good else None
    except (JoseError, ValueError, TypeError):
        raise WrongKey from None
    if not isinstance(claims, dict):
        raise WrongKey
    return claims


def _scopes(claimed: object) -> frozenset[Scope]:
    """Those that are ours; a token may hold many of others."""
    names = _words(claimed)
    return frozenset(scope for scope in Scope if scope in names)


def _words(claimed: object) -> list[str]:
    """A claim of several: a list, or one text with spaces."""
    names = claimed.split() if isinstance(claimed, str) else claimed
    return [one for one in names if isinstance(one, str)] if isinstance(names, list) else []
