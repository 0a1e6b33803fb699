"""Addresses of the shared server, as operators write them."""

import pytest

from gateway.redis_url import RedisUrl, Topology, parse


def address(text: str, **more: object) -> RedisUrl:
    given = {"text": text, "topology": Topology.SENTINEL, "is_tls": False, "service": "ours"}
    return RedisUrl(**{**given, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("redis+sentinel://a/ours", {"nodes": (("a", 26379),)}),
        ("redis+sentinel://a:1,b/ours/3", {"nodes": (("a", 1), ("b", 26379)), "database": 3}),
        ("rediss+sentinel://[::1]:7/ours/", {"nodes": (("::1", 7),), "is_tls": True}),
        (
            "redis+sentinel://me:p%40:ss@a/ours?sentinel_username=they&sentinel_password=w%26",
            {
                "nodes": (("a", 26379),),
                "username": "me",
                "password": "p@:ss",
                "sentinel_username": "they",
                "sentinel_password": "w&",
            },
        ),
        (
            "rediss+cluster://:secret@a:7000,b:7001,[fd00::1]",
            {
                "nodes": (("a", 7000), ("b", 7001), ("fd00::1", 6379)),
                "topology": Topology.CLUSTER,
                "is_tls": True,
                "service": "",
                "password": "secret",
            },
        ),
        ("rediss://h:1/2", {"topology": Topology.SERVER, "is_tls": True, "service": ""}),
        ("unix:///path?db=1", {"topology": Topology.SERVER, "service": ""}),
    ],
)
def test_what_an_address_says(text: str, more: dict[str, object]) -> None:
    assert parse(text) == address(text, **more)


def test_passwords_do_not_print() -> None:
    told = repr(parse("redis+sentinel://u:secret@h/ours?sentinel_password=secret"))
    assert "secret" not in told
