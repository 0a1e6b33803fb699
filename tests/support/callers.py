"""Callers with keys that a test knows."""

from hashlib import sha256
from pathlib import Path

from gateway.callers.model import ALL_SCOPES, Caller, Scope
from gateway.callers.registry import Callers

ANONYMOUS = Caller("", ALL_SCOPES)
"""Who asks without a key where none is needed."""


def client(name: str, *keys: str, scopes: frozenset[Scope] = ALL_SCOPES, more: str = "") -> str:
    """A client's entry; without keys of its own its key is `key of NAME`."""
    hashes = [sha256(key.encode()).hexdigest() for key in keys or [f"key of {name}"]]
    listed = [str(scope) for scope in sorted(scopes)]
    return f'[[client]]\nname = "{name}"\nkey_sha256 = {hashes}\nscopes = {listed}\n{more}\n'


async def no_fetch(url: str) -> bytes:
    """For callers without tokens."""
    raise AssertionError(url)


def callers(path: Path, text: str, *, allow_anonymous: bool = False) -> Callers:
    """Callers of a file with this text."""
    path.write_text(text)
    return Callers(path, allow_anonymous=allow_anonymous, fetch=no_fetch)
