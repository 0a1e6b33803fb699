"""Loads trusted (persisted) documents from a file, keyed by the SHA-256 of their text."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from gateway.settings import SettingsError


def read_trusted(path: Path | None) -> dict[str, str]:
    """The documents of a file by the SHA-256 of their text, in hex; no file: none.

    The file is a JSON object of such hashes and texts, as Relay's compiler writes it, or Apollo's
    manifest with its list `operations`. Raises `SettingsError`.
    """
    if path is None:
        return {}
    setting = "GATEWAY_TRUSTED_DOCUMENTS"
    try:
        given = orjson.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{setting}: the file can't be read: {error.strerror}.") from None
    except orjson.JSONDecodeError:
        raise SettingsError(f"{setting}: the file must be JSON.") from None
    if not isinstance(given, dict):
        raise SettingsError(f"{setting}: the file must hold an object of hashes and documents.")
    trusted = {}
    for name, text in _pairs(given):
        digest = str(name).removeprefix("sha256:").lower()
        if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != digest:
            raise SettingsError(f"{setting}: {name!r} is not the SHA-256 of its document.")
        trusted[digest] = text
    return trusted


def _pairs(given: dict[str, Any]) -> Iterator[tuple[object, object]]:
    operations = given.get("operations")
    if not isinstance(operations, list):
        yield from given.items()
        return
    for operation in operations:
        if isinstance(operation, dict):
            yield operation.get("id"), operation.get("body")
        else:
            yield operation, None
