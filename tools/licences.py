"""Which licences the packages may have that come with the gateway, and which they have."""

from importlib.metadata import PackageNotFoundError, metadata
from typing import Final

from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing

ALLOWED: Final = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",  # its own files stay under it; none of them is changed
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
    }
)
"""By SPDX. All let us pass a package on with the gateway, with its notice, under any licence."""

LIBRARIES: Final = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
"""Allowed for these alone: they are imported as they are, and whoever runs the gateway can put
another version in their place, as the LGPL wants it."""

IN_WORDS: Final = {
    "async-timeout": "Apache-2.0",  # only for Python before 3.11.3
    "protobuf": "BSD-3-Clause",
    "uvloop": "MIT OR Apache-2.0",
}
"""Packages that name their licence in words only, or are not installed everywhere: looked up in the
licence they bring."""

_SPDX: Final = get_spdx_licensing()


def licence_of(package: str) -> str | None:
    """The licence of an installed Python package, as it says; None: it does not."""
    if package in IN_WORDS:
        return IN_WORDS[package]
    try:
        told = metadata(package)
    except PackageNotFoundError:
        return None
    names = [told[field] for field in ("License-Expression", "License") if field in told]
    return names[0] if names else None


def is_allowed(package: str, licence: str | None) -> bool:
    """May it come with the gateway? A licence may be an expression of SPDX, of AND and OR."""
    if not licence:
        return False
    try:
        expression = _SPDX.parse(licence, validate=True)
    except ExpressionError:
        return False
    return LIBRARIES.get(package) == licence or _is_fulfilled(expression)


def _is_fulfilled(expression: LicenseExpression) -> bool:
    if not expression.args:
        return str(expression) in ALLOWED
    found = map(_is_fulfilled, expression.args)
    return any(found) if isinstance(expression, _SPDX.OR) else all(found)
