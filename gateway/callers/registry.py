"""`Callers`: authenticates `Authorization`, reloads the clients file, revokes open streams."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from gateway.callers.file import CheckWebhook, Clients, ClientsFileError, JwtRules, read
from gateway.callers.model import ALL_SCOPES, Caller, Scope, WebhookEntry, WrongKey
from gateway.callers.quota import Quota, Throttle
from gateway.errors import Forbidden, GatewayError, Unauthenticated

if TYPE_CHECKING:
    from gateway.callers.jwt import Tokens

log = logging.getLogger(__name__)

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Gives what is at an address; `OSError` where that can't be done."""


class Holder(Protocol):
    """Something that stays open for a caller, such as a stream or a socket."""

    @property
    def caller(self) -> Caller: ...

    def lose(self) -> None:
        """The caller has lost his key or token, or one of his scopes."""


class Held:
    """Is held open for a caller while it is entered."""

    def __init__(self, caller: Caller, callers: "Callers") -> None:
        self.caller = caller
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the caller has lost his key or token, or one of his scopes."""
        self._callers = callers

    def lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def __enter__(self) -> Self:
        self._callers.hold(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._callers.release(self)


class Callers:
    """Knows the callers by their keys and tokens, of which it keeps but hashes.

    Without a file everybody is `anonymous`; with one, who sends no key is that only where
    `allow_anonymous` says so. `quota` and `throttle` outlive what is read anew.

    Raises `ClientsFileError`.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        allow_anonymous: bool,
        fetch: Fetch,
        anonymous_scopes: frozenset[Scope] = ALL_SCOPES,
        check_webhook: CheckWebhook | None = None,
        accounts: Sequence[str] = (),
    ) -> None:
        self.anonymous = Caller("", anonymous_scopes)
        self.quota = Quota()
        self.throttle = Throttle()
        self._path = path
        self.are_known = path is not None
        """Is there a file of them?"""
        self._allow_anonymous = allow_anonymous or path is None
        self._fetch = fetch
        self._check_webhook = check_webhook
        self._accounts = accounts
        self.on_reload: Callable[[], None] = lambda: None
        """Called when the file has been read anew."""
        self._held: set[Holder] = set()
        self._clients = Clients({}, {}, None, {})
        self._tokens: Tokens | None = None
        if path is not None:
            self._clients, self._tokens = self._read(path)

    def known(self, token: bytes | str, now: float) -> Caller | None:
        """Whose key it is, or a token seen before; `now` in seconds since 1970.

        None: `authenticate` has to look closer. A dict finds a hash by Python's SipHash, keyed
        anew in each process, so that the time it takes tells nothing of the hashes in it; the
        last word is `compare_digest`'s.
        """
        raw = token.encode(errors="replace") if isinstance(token, str) else token
        digest = sha256(raw).digest()
        found = self._clients.keys.get(digest)
        if found is None:
            return None if self._tokens is None else self._tokens.seen(digest, now)
        stored, caller = found
        if not compare_digest(stored, digest) or _has_expired(caller, now):
            return None
        return caller

    async def authenticate(
        self, authorization: str | None, now: float, *, address: str = ""
    ) -> Caller:
        """Who sends this `Authorization` header from this address, at `now` since 1970.

        Raises `Unauthenticated`; `QuotaExceeded` for a wrong key in the pause that its address was
        told to make; `Overloaded` while the keys for tokens can't be had.
        """
        if self._path is None or (authorization is None and self._allow_anonymous):
            return self.anonymous
        if authorization is None:
            raise Unauthenticated("A key is needed: send `Authorization: Bearer KEY`.")
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The key must be sent as `Authorization: Bearer KEY`.")
        return self.known(token, now) or await self._look_closer(token, now, address)

    def standing(self, caller: Caller, now: float) -> Caller | None:
        """The caller as it stands now, for what stays open for long; None: no longer let in.

        It stands by the very key or token it came with: its client may have others. Scopes and
        quota are those of the file as it was read last.
        """
        held: Caller | None
        if caller.credential is None:
            held = self.anonymous if self._allow_anonymous else None
        elif isinstance(caller.credential, bytes):
            _, held = self._clients.keys.get(caller.credential, (None, None))
        else:
            signed = self._tokens is not None and self._tokens.stands(caller.credential)
            held = caller if signed else None
        return None if held is None or _has_expired(held, now) else held

    def held(self, caller: Caller) -> Held:
        """Hold something open for a caller."""
        return Held(caller, self)

    def hold(self, holder: Holder) -> None:
        """From now on it is told when its caller loses his key, or a scope."""
        self._held.add(holder)

    def release(self, holder: Holder) -> None:
        self._held.discard(holder)

    def refusal(self, caller: Caller, now: float) -> GatewayError:
        """Why what was open for a caller has ended."""
        standing = self.standing(caller, now)
        if standing is not None:
            return Forbidden(
                "The caller has lost a scope or an account; what it still may see it can ask anew."
            )
        if _has_expired(caller, now):
            return Unauthenticated("The key has expired.")
        return Unauthenticated("The key or token is no longer good here.")

    def seconds_left(self, caller: Caller, now: float) -> float:
        """How long what the caller has open may stay so; 0: no longer."""
        held = self.standing(caller, now)
        if held is None:
            return 0.0
        return math.inf if held.expires_at is None else held.expires_at - now

    def reload(self) -> bool:
        """Read the file anew; a bad one changes nothing and is told in the log."""
        if self._path is None:
            return False
        try:
            self._clients, self._tokens = self._read(self._path)
        except ClientsFileError as error:
            log.warning("%s What was read before stays.", error)
            return False
        log.info("the clients file was read anew: %d clients", len(self._clients.callers))
        self._check_held()
        self.on_reload()
        return True

    @property
    def webhooks(self) -> Mapping[str, WebhookEntry]:
        """The addresses that are told of changes, by name."""
        return self._clients.webhooks

    def _check_held(self) -> None:
        """Tell what is open for callers who have lost what they were let in by."""
        for held in list(self._held):
            if not self._may_go_on(held.caller):
                held.lose()

    def _may_go_on(self, caller: Caller) -> bool:
        """Expiry aside, which comes by itself: see `seconds_left`."""
        standing = self.standing(caller, -math.inf)
        if standing is None or not standing.scopes >= caller.scopes:
            return False
        if standing.accounts is None or standing.accounts == caller.accounts:
            return True
        return caller.accounts is not None and standing.accounts >= caller.accounts

    async def _look_closer(self, token: str, now: float, address: str) -> Caller:
        raw = token.encode(errors="replace")
        digest = sha256(raw).digest()
        if digest in self._clients.keys:
            raise Unauthenticated("The key has expired.")
        if self._tokens is not None:
            with suppress(WrongKey):
                return await self._tokens.verify(raw, digest, now)
        self.throttle.wrong(address, now)
        raise Unauthenticated("The key or token is not known here.")

    def _read(self, path: Path) -> tuple[Clients, "Tokens | None"]:
        clients = read(path, self._check_webhook, self._accounts)
        if clients.jwt is None:
            return clients, None
        if self._tokens is not None and self._tokens.rules == clients.jwt and clients.jwt.jwks_url:
            return clients, self._tokens  # its keys are known, whatever became of the issuer
        return clients, self._tokens_by(clients.jwt, path)

    def _tokens_by(self, rules: JwtRules, path: Path) -> "Tokens":
        try:
            from gateway.callers import jwt  # noqa: PLC0415 - an extra
        except ImportError:
            raise ClientsFileError(
                f"{path}: [jwt] needs the extra jwt: pip install 'smsc-gateway[jwt]'."
            ) from None
        if rules.jwks_url is not None:
            load = partial(self._fetch, rules.jwks_url)
            return jwt.Tokens(rules, load, on_change=self._check_held)
        file = path.parent / (rules.jwks_file or "")
        try:
            keys = jwt.parse_keys(file.read_bytes())
        except OSError as error:
            raise ClientsFileError(
                f"{path}: [jwt]: jwks_file can't be read: {error.strerror}."
            ) from None
        except ValueError as error:
            raise ClientsFileError(f"{path}: [jwt]: jwks_file: {error}.") from None

        async def read_file() -> bytes:
            return file.read_bytes()

        return jwt.Tokens(rules, read_file, keys=keys, on_change=self._check_held)


def _has_expired(caller: Caller, now: float) -> bool:
    return caller.expires_at is not None and now >= caller.expires_at
