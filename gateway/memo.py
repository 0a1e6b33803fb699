"""Memoization that bounds the size of keys as well as their number.

`functools.lru_cache` bounds the number of results, not the size of their keys: 256 header values of
64 KB each are 16 MB that nobody ever asks for again. And to look at the size of each key would cost
more than most of what is kept here: so it is looked at when a result is to be kept.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

LONGEST = 256
"""Characters or bytes of an argument: several times what clients send in a header by themselves."""

P = ParamSpec("P")
R = TypeVar("R")

CACHES: list[dict[Any, Any]] = []
"""What is kept, for a test to look into."""

_MISSING: Any = object()


def memoize(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep up to `maxsize` results, but none for a text that is longer than `LONGEST`.

    Arguments are given by place. When it is full, all are forgotten. What is raised is not kept.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        plain: Callable[..., R] = function
        kept: dict[tuple[object, ...], R] = {}
        CACHES.append(kept)

        # To take arguments by name as well would make a dictionary for each call.
        @wraps(function)
        def call(*args: object) -> R:
            result: R = kept.get(args, _MISSING)
            if result is _MISSING:
                result = plain(*args)
                if not any(map(_is_long, args)):
                    keep(kept, args, result, maxsize)
            return result

        return cast("Callable[P, R]", call)

    return decorate


def memoize_header(maxsize: int) -> Callable[[Callable[[bytes], R]], Callable[[bytes], R]]:
    """The same for a function of a header's value: with one argument it costs next to nothing."""

    def decorate(function: Callable[[bytes], R]) -> Callable[[bytes], R]:
        kept: dict[bytes, R] = {}
        CACHES.append(kept)

        @wraps(function)
        def call(value: bytes) -> R:
            result: R = kept.get(value, _MISSING)
            if result is _MISSING:
                result = function(value)
                if not _is_long(value):
                    keep(kept, value, result, maxsize)
            return result

        return call

    return decorate


def _is_long(argument: object) -> bool:
    return isinstance(argument, str | bytes) and len(argument) > LONGEST


def keep(kept: dict[Any, Any], key: object, result: object, maxsize: int) -> None:
    """Keep a result under a key; when `maxsize` are kept, all are forgotten first."""
    if len(kept) >= maxsize:
        kept.clear()
    kept[key] = result
