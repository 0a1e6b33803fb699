"""New keys, and new entries of the clients file."""

import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

from gateway.callers.file import KEY_PREFIX, ClientsFileError, parse, read
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
    path = path.resolve()  # the place of a link stays a link
    before = ""
    if path.exists():
        read(path)
        before = path.read_text("utf-8").rstrip("\n") + "\n\n"
    parse(before + added, path)
    try:
        _replace(path, before + added)
    except OSError as error:
        raise ClientsFileError(f"{path} can't be written: {error.strerror}.") from None


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
