"""Adds keys and clients to the clients file."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

from gateway.callers.file import KEY_PREFIX, ClientsFileError, parse, text_of
from gateway.callers.model import Scope

KEY_BYTES = 32
"""Random bytes of a key: nobody guesses 256 bits, so one round of SHA-256 hides them well."""


def create_key() -> tuple[str, str]:
    """A new key, and its hash for the file."""
    key = KEY_PREFIX + token_urlsafe(KEY_BYTES)
    return key, sha256(key.encode()).hexdigest()


def entry(
    name: str,
    key_sha256: str,
    scopes: Iterable[Scope],
    *,
    expires: datetime | None = None,
    quota_per_minute: int | None = None,
    max_streams: int | None = None,
) -> str:
    """The TOML of one client."""
    listed = ", ".join(f'"{scope}"' for scope in dict.fromkeys(scopes))
    lines = [
        "[[client]]",
        f'name = "{name}"',
        f'key_sha256 = "{key_sha256}"',
        f"scopes = [{listed}]",
    ]
    if expires is not None:
        lines.append(f"expires = {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if quota_per_minute is not None:
        lines.append(f"quota_per_minute = {quota_per_minute}")
    if max_streams is not None:
        lines.append(f"max_streams = {max_streams}")
    return "\n".join(lines) + "\n"


def append(path: Path, added: str) -> None:
    """Write an entry to the end of the file, which is begun where there is none.

    The file is replaced at once: who reads it meanwhile reads the old one or the new one. Raises
    `ClientsFileError`, and changes nothing, where the whole would not be valid.
    """
    place = path.resolve()  # a link stays a link
    before = text_of(place).strip("\n") if place.exists() else ""
    whole = f"{before}\n\n{added}" if before else added
    parse(whole, path)
    try:
        _replace(place, whole)
    except OSError as error:
        raise ClientsFileError(f"{path} can't be written: {error.strerror}.") from None


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for us alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():
                _resemble(path, descriptor)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _resemble(path: Path, descriptor: int) -> None:
    """Who could read the old file has to read the new one: the gateway is often another user."""
    status = path.stat()
    with suppress(PermissionError):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o777)
