"""Nothing that strangers send is kept for ever."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import gateway
from gateway.memo import CACHES, LONGEST, memoize
from gateway.model.records import Message
from gateway.observability.logs import masked_caller
from gateway.web.graphql import plain, view
from gateway.web.http import caching, compression
from gateway.web.http import methods as resource
from gateway.web.http.auth import LONGEST_ADDRESS, address_of
from gateway.web.rest import address as question
from gateway.web.rest import follow as live

KEYS_ARE_OURS = {
    "gateway.archive.listing._statement": "columns of our queries, and a few of a filter's values",
    "gateway.archive.rows._wanted": "powers of two",
    "gateway.archive.rows.keyed": "powers of two, and columns of our queries",
    "gateway.callers.model._hidden": "sets of seven scopes",
    "gateway.model.described.twin": "our models",
    "gateway.model.detail.field_paths": "our models",
    "gateway.model.records.shown_fields": "our models",
    "gateway.store.codec._one": "parts of records that another gateway read",
    "gateway.smsc.codes.delivery_error": "numbers of 32 bits",
    "gateway.webhooks.post._trusted": "no argument",
    "gateway.web.rest.document.openapi": "no argument",
    "gateway.web.rest.document.openapi_yaml": "no argument",
    "gateway.web.rest.document._body": "the media types and codings that are offered",
    "gateway.web.graphql.picks._fields_of": "our models",
    "gateway.web.pages.files._manifest": "a folder of ours",
    "gateway.web.pages.files._read": "files of the manifest",
    "gateway.web.rest.fields._shape": "sets of names that are fields",
    "urllib.parse.urlsplit": "addresses in settings and options",
}
LENGTH_IS_CHECKED = {
    "gateway.web.rest.address._question": "by question",
    "gateway.web.http.methods._takes": "by check_accept",
}
"""Where a wrapper would cost every hit, and tests below hold it."""


def _name(cache: object) -> str:
    function = cache.__wrapped__  # type: ignore[attr-defined]
    return f"{function.__module__}.{function.__qualname__}"


def _plain_caches() -> list[object]:
    kind = functools._lru_cache_wrapper  # noqa: SLF001 - it has no public name
    names = [module.name for module in pkgutil.walk_packages(gateway.__path__, "gateway.")]
    alone = ("__main__", ".migrations.env")  # they do their work when they are imported
    modules = [importlib.import_module(name) for name in names if not name.endswith(alone)]
    found = {id(one): one for module in modules for one in vars(module).values()}
    return [one for one in found.values() if type(one) is kind]


def test_every_cache_has_keys_of_bounded_length() -> None:
    assert {_name(cache) for cache in _plain_caches()} == set(KEYS_ARE_OURS | LENGTH_IS_CHECKED)


LONG = b"text/plain, " * LONGEST


@pytest.mark.parametrize(
    "read",
    [
        compression.takes_gzip,
        caching.directives,
        live.seconds_to_wait,
        view.acceptable,
        lambda sent: resource.check_accept(sent, "application/json"),
        lambda sent: question.read_url(Message, "1", b"phone=79990000001&x=" + sent, frozenset()),
        lambda sent: plain.plain_key("1", sent.decode()),
        lambda sent: plain.plain_key(sent.decode(), "79990000001"),
        lambda sent: plain.plain_key(int.from_bytes(sent[:20]), "79990000001"),
        lambda sent: masked_caller(sent.decode()),
    ],
)
def test_what_is_long_is_read_and_not_kept(read: Callable[[bytes], object]) -> None:
    def kept() -> int:
        caches: list[Any] = _plain_caches()
        sizes: list[int] = [cache.cache_info().currsize for cache in caches]
        return sum(sizes) + sum(map(len, CACHES))

    value = LONG + b"*/*"
    read(value)  # what it needs besides is kept now
    before = kept()
    for n in range(5):
        read(value + b";v=%d" % n)
    assert kept() == before


def test_an_address_that_a_proxy_passes_on_is_cut() -> None:
    assert address_of({"client": ("2001:db8::1", 0)}) == "2001:db8::1"
    assert address_of({"client": ("x" * 60_000, 0)}) == "x" * LONGEST_ADDRESS


def test_a_cache_that_is_full_begins_anew() -> None:
    made: list[int] = []

    @memoize(3)
    def double(number: int) -> int:
        made.append(number)
        return 2 * number

    assert [double(number) for number in (1, 2, 3, 1, 4, 4, 1)] == [2, 4, 6, 2, 8, 8, 2]
    assert made == [1, 2, 3, 4, 1]
