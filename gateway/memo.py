"""Results that are kept by what they were made of, in bounded memory.

`functools.lru_cache` bounds the number of results, not the size of their keys: 256 header values of
64 KB each are 16 MB that nobody ever asks for again.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

LONGEST = 256
"""Characters or bytes of an argument: several times what clients send in a header by themselves."""

P = ParamSpec("P")
R = TypeVar("R")

CACHES: list[object] = []
"""The caches made here, for a test to tell them from others."""


def memoize(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep up to `maxsize` results, but none for a text that is longer than `LONGEST`.

    Nor for arguments given by name. What is raised is not kept.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached: Callable[..., R] = lru_cache(maxsize)(function)
        CACHES.append(cached)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if kwargs:
                return function(*args, **kwargs)
            for argument in args:
                if isinstance(argument, (str, bytes)) and len(argument) > LONGEST:
                    return function(*args, **kwargs)
            return cached(*args)

        return call

    return decorate


def memoize_header(maxsize: int) -> Callable[[Callable[[bytes], R]], Callable[[bytes], R]]:
    """The same for a function of a header's value: with one argument it costs next to nothing."""

    def decorate(function: Callable[[bytes], R]) -> Callable[[bytes], R]:
        cached = lru_cache(maxsize)(function)
        CACHES.append(cached)

        @wraps(function)
        def call(value: bytes) -> R:
            return cached(value) if len(value) <= LONGEST else function(value)

        return call

    return decorate
