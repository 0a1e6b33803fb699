"""Rewrites graphql-core's error messages: shortened, and without schema names when hidden.

They are short, whatever the caller sent: a value or name is cut as everywhere. And where nobody may
ask about the schema they tell nothing of it but what the caller wrote.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from graphql import GraphQLError

from gateway.errors import MAX_ECHOED, shortened

MAX_MESSAGE: Final = 500
"""Characters of a message; one that names many things may be cut."""

_LONG_NAME: Final = re.compile(rf"\w{{{MAX_ECHOED + 1},}}(?:\.\.\.)?")
_HINT: Final = re.compile(r"\.? Did you mean [^?]*\?\Z")
_VALUE: Final = re.compile(
    r"(?P<head>cannot represent [^:]*value: |[Ff]ound: |(?:found|Unexpected) \w*String '|Value ')"
    r"(?P<value>.*?)"
    r"(?P<tail>' does not exist in '\w+' enum\.|'?\.?)\Z",
    re.DOTALL,
)
"""The value that a message repeats; nothing of interest stands behind it."""

_TYPE: Final = r"'[^']*'"
_WITHOUT_TYPES: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"(Cannot query field '\w+') on type {_TYPE}", r"\1"),
        (rf"(Field '\w+' must not have a selection) since type {_TYPE} has no subfields", r"\1"),
        (rf"(Field '\w+') of type {_TYPE}( must have)", r"\1\2"),
        (r"(Unknown argument '\w+' on field ')\w+\.", r"\1"),
        (
            (
                rf"Argument '(?:\w+\.)?(@?\w+)\(\w+:\)' of type {_TYPE} is required, but it was "
                "not provided"
            ),
            r"A required argument of '\1' was not provided",
        ),
        (rf"(Argument '[^']*') of required type {_TYPE}", r"\1"),
        (
            rf"( cannot be spread here) as objects of type {_TYPE} can never be of type {_TYPE}",
            r"\1: objects can't be of both types",
        ),
        (rf"( used in position expecting) type {_TYPE}", r"\1 another type"),
        (rf"(conflicting types) {_TYPE} and {_TYPE}", r"\1"),
        (
            rf"Expected value of type {_TYPE} to include required field '\w+'",
            "A required field was not provided",
        ),
        (
            rf"Expected value of type {_TYPE} not to include unknown field ('\w+')",
            r"Unknown field \1",
        ),
        (rf"(Expected value) of type {_TYPE}( to be an object)", r"\1\2"),
        (rf"(Expected a? ?value) of (?:non-null )?type {_TYPE}", r"\1"),
        (rf"(Expected variable '\$\w+' provided) to (?:non-null )?type {_TYPE}", r"\1"),
        (r"(?:\b\w+|Enum '\w+') cannot represent [^:]*value:", "Another value is expected, found:"),
        (r"( does not exist) in '\w+' enum", r"\1"),
    )
]
"""What tells of the schema, and what is said instead, with the names that the caller wrote."""


_NO_CODE: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|\#[^\n]*', re.DOTALL
)
"""Strings and comments of a document."""
_ARGUMENTS: Final = re.compile(r"\([^()]*\)?")


def open_selections(document: str) -> int:
    """How many selections are open where a document ends; values stand in parentheses."""
    code = _ARGUMENTS.sub("", _NO_CODE.sub("", document))
    return code.count("{") - code.count("}")


def brief(message: str) -> str:
    """The message with long values and names cut."""
    if len(message) <= MAX_ECHOED:
        return message
    hint = _HINT.search(message)
    text = message[: hint.start()] if hint else message
    if found := _VALUE.search(text):
        text = text[: found.start()] + found["head"] + shortened(found["value"]) + found["tail"]
    text = _LONG_NAME.sub(lambda name: shortened(name[0]), text)
    return shortened(text + (hint[0] if hint else ""), MAX_MESSAGE)


def without_schema(errors: Iterable[GraphQLError]) -> list[GraphQLError]:
    """The errors without what they tell of the schema; of those that are then alike, one."""
    told: dict[object, GraphQLError] = {}
    for error in errors:
        is_ours = bool(error.extensions)
        plain = error if is_ours else _said(error, _untaught(error.message))
        told.setdefault((plain.message, str(plain.locations), str(plain.path)), plain)
    return list(told.values())


def _untaught(message: str) -> str:
    """The value that is told stays, whatever stands in it."""
    message = _HINT.sub(".", message)
    found = _VALUE.search(message)
    if found is None:
        return _without_types(message)
    head, tail = message[: found.start("value")], found["tail"]
    return _without_types(head) + found["value"] + _without_types(tail)


def _without_types(text: str) -> str:
    for pattern, replacement in _WITHOUT_TYPES:
        text = pattern.sub(replacement, text)
    return text


def _said(error: GraphQLError, message: str) -> GraphQLError:
    if message == error.message:
        return error
    return GraphQLError(
        message,
        error.nodes,
        error.source,
        error.positions,
        error.path,
        error.original_error,
        error.extensions,
    )
