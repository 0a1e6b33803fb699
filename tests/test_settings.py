"""Settings stop the start with one sentence, or mean what they say."""

import re
from pathlib import Path

import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.settings import Settings, SettingsError, load

LOGIN = {"GATEWAY_SMSC_LOGIN": "a", "GATEWAY_SMSC_PASSWORD": "very-secret"}
PAGE = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()


def test_defaults() -> None:
    settings = load(LOGIN | {"PATH": "/bin"})
    assert settings.smsc_urls == ("https://smsc.ru/sys/",)
    assert (settings.smsc_format, settings.smsc_charset) == (3, "utf-8")
    assert (settings.limit_per_message, settings.limit_mass, settings.limit_concurrency) == (
        5,
        1,
        4,
    )
    assert (settings.limit_window, settings.max_wait, settings.mass_max_ids) == (60, 5, 100)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_addresses_get_their_slash() -> None:
    settings = load(LOGIN | {"GATEWAY_SMSC_URL": "https://a.test/sys, http://b.test/sys/"})
    assert settings.smsc_urls == ("https://a.test/sys/", "http://b.test/sys/")


def test_proxies_are_addresses_and_networks() -> None:
    assert load(LOGIN).proxies == ()
    settings = load(LOGIN | {"GATEWAY_TRUSTED_PROXIES": "10.0.0.5, fd00::/8,192.0.2.0/24"})
    assert settings.proxies == ("10.0.0.5", "fd00::/8", "192.0.2.0/24")


def test_empty_values_count_as_unset() -> None:
    assert load(LOGIN | {"GATEWAY_SMSC_API_KEY": "", "GATEWAY_PORT": ""}).port == 8080


def test_an_api_key_stands_alone() -> None:
    assert load({"GATEWAY_SMSC_API_KEY": "k"}).smsc_login is None


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"GATEWAY_PORTT": "1"}, "GATEWAY_PORTT is not a setting; did you mean GATEWAY_PORT?"),
        ({"GATEWAY_XYZZY": "1"}, "GATEWAY_XYZZY is not a setting."),
        ({"GATEWAY_SMSC_FORMAT": "4"}, "GATEWAY_SMSC_FORMAT: should be 0, 1, 2 or 3."),
        ({"GATEWAY_PORT": "70000"}, "GATEWAY_PORT: should be less than or equal to 65535."),
        ({"GATEWAY_LIMIT_CONCURRENCY": "0"}, "GATEWAY_LIMIT_CONCURRENCY: "),
        ({"GATEWAY_SMSC_URL": "ftp://x"}, "GATEWAY_SMSC_URL: must be a comma list of http(s) "),
        ({"GATEWAY_SMSC_URL": "http://u:p@x/"}, "GATEWAY_SMSC_URL: must hold no credentials"),
        ({"GATEWAY_SMSC_TIMEZONE": "Mars/Base"}, "GATEWAY_SMSC_TIMEZONE: must be a time zone"),
        ({"GATEWAY_SMSC_CHARSET": "cp866"}, "GATEWAY_SMSC_CHARSET: "),
        ({"GATEWAY_CORS_ORIGINS": "https://a.test/"}, "GATEWAY_CORS_ORIGINS: must be * or a comma"),
        ({"GATEWAY_CORS_ORIGINS": "a.test"}, "GATEWAY_CORS_ORIGINS: must be * or a comma list of"),
        ({"GATEWAY_CORS_ORIGINS": "*,https://A.test"}, "GATEWAY_CORS_ORIGINS: must be * or a "),
        ({"GATEWAY_TRUSTED_PROXIES": "*"}, "GATEWAY_TRUSTED_PROXIES: must be a comma list of addr"),
        ({"GATEWAY_TRUSTED_PROXIES": "10.0.0.1/8"}, "GATEWAY_TRUSTED_PROXIES: must be a comma "),
        ({"GATEWAY_TRUSTED_PROXIES": "::1,lb.local"}, "GATEWAY_TRUSTED_PROXIES: must be a comma "),
        ({"GATEWAY_TRUSTED_PROXIES": "10.0.0.1,"}, "GATEWAY_TRUSTED_PROXIES: must be a comma "),
        ({"GATEWAY_REDIS_URL": "valkey:6379"}, "GATEWAY_REDIS_URL: must be an address such as"),
        ({"GATEWAY_REDIS_URL": "redis://"}, "GATEWAY_REDIS_URL: must be an address such as"),
        ({"GATEWAY_REDIS_URL": "redis://h:x"}, "GATEWAY_REDIS_URL: must be an address such as"),
        ({"GATEWAY_REDIS_URL": "redis://h/none"}, "GATEWAY_REDIS_URL: must be an address such as"),
        *[
            ({"GATEWAY_REDIS_URL": url}, f"GATEWAY_REDIS_URL: must {sentence}")
            for url, sentence in {
                "sentinel://h/ours": "be an address such as redis://host:6379/0, redis+sentinel:/",
                "unixs:///path": "be an address such as",
                "redis+sentinel://h": "name what the Sentinels watch behind their hosts, such as",
                "redis+sentinel://h/ours/very-secret": "name what the Sentinels watch",
                "redis+sentinel://very-secret@h,/ours": "have a comma list of hosts, each with it",
                "redis+sentinel://:very-secret@h:x/ours": "have a comma list of hosts",
                "redis+sentinel://h:0/ours": "have a comma list of hosts",
                "redis+sentinel://[::1/ours": "have a comma list of hosts",
                "redis+sentinel://h/ours?password=very-secret": "have sentinel_username and sent",
                "redis+cluster://": "have a comma list of hosts",
                "redis+cluster://h/1": "end behind the hosts of a cluster, which has no databases",
                "rediss+cluster://h?db=very-secret": "have nothing behind a question mark",
            }.items()
        ],
        (
            {"GATEWAY_CALLBACK_SECRET": "1234567"},
            "GATEWAY_CALLBACK_SECRET: must have at least 16 characters.",
        ),
        (
            {"GATEWAY_CLIENTS_FILE": "/none"},
            "GATEWAY_CLIENTS_FILE: must be a file that can be read: No such file or directory.",
        ),
        (
            {"GATEWAY_CLIENTS_FILE": "/"},
            "GATEWAY_CLIENTS_FILE: must be a file that can be read: Is a directory.",
        ),
        ({"GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_HOST is not a loopback address"),
        ({"GATEWAY_HOST": "gateway.example"}, "GATEWAY_HOST is not a loopback address"),
        ({"GATEWAY_SMSC_PASSWORD": ""}, "GATEWAY_SMSC_LOGIN with GATEWAY_SMSC_PASSWORD, or "),
        ({"GATEWAY_SMSC_API_KEY": "k"}, "GATEWAY_SMSC_LOGIN with GATEWAY_SMSC_PASSWORD, or "),
    ],
)
def test_a_wrong_setting_is_one_sentence(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(LOGIN | environ)
    message = str(caught.value)
    assert message.startswith(sentence)
    assert "\n" not in message
    assert "very-secret" not in message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert load(LOGIN | {"GATEWAY_HOST": host}).host == host


def test_other_addresses_need_permission() -> None:
    environ = {"GATEWAY_HOST": "0.0.0.0", "GATEWAY_ALLOW_ANONYMOUS": "true"}
    assert load(LOGIN | environ).allow_anonymous


def test_known_callers_may_come_from_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.touch()  # what is in it is read by `callers`
    settings = load(LOGIN | {"GATEWAY_HOST": "0.0.0.0", "GATEWAY_CLIENTS_FILE": str(path)})
    assert settings.clients_file == path
    assert not settings.allow_anonymous


def test_secrets_do_not_print() -> None:
    assert "very-secret" not in repr(load(LOGIN))


def test_the_page_names_every_setting() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGE)) - {"GATEWAY_", "RUB"}
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_page_has_the_defaults() -> None:
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", PAGE, re.MULTILINE)
    defaults = {
        name: default
        for names, values in rows
        for name, default in zip(names.split(", "), values.split(", "), strict=False)
    }
    for name, field in Settings.model_fields.items():
        told = str(field.default).lower() if field.default is True else field.default
        if told not in (None, False):
            assert defaults[f"`{name.upper()}`"] == f"`{told}`"


def loaded(**environ: str) -> Settings:
    return load(LOGIN | {f"GATEWAY_{name}": value for name, value in environ.items()})


def test_hosts_are_limited_where_nobody_needs_a_key(tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text("")
    assert loaded().hosts is None
    assert loaded(CLIENTS_FILE=str(file)).hosts == frozenset("*")
    assert loaded(CLIENTS_FILE=str(file), ALLOW_ANONYMOUS="true").hosts is None
    assert loaded(HOST="0.0.0.0", ALLOW_ANONYMOUS="true").hosts == frozenset("*")
    assert loaded(ALLOWED_HOSTS="GW.example, 10.0.0.7").hosts == frozenset(
        {"gw.example", "10.0.0.7"}
    )


@pytest.mark.parametrize("value", ["http://gw.example", "gw.example:80", "a b", ",", "gw/x"])
def test_a_host_name_is_a_name_alone(value: str) -> None:
    with pytest.raises(SettingsError, match=r"GATEWAY_ALLOWED_HOSTS: must be \* or a comma list"):
        loaded(ALLOWED_HOSTS=value)


def test_strangers_may_read_and_never_delete(tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text("")
    read = frozenset({Scope.STATUS_READ})
    assert loaded().scopes_of_anonymous == ALL_SCOPES
    assert loaded(CLIENTS_FILE=str(file)).scopes_of_anonymous == read
    assert loaded(HOST="0.0.0.0", ALLOW_ANONYMOUS="true").scopes_of_anonymous == read
    assert loaded(ALLOWED_HOSTS="gw.example").scopes_of_anonymous == read
    assert loaded(ALLOWED_HOSTS="localhost,gw.example").scopes_of_anonymous == read
    assert loaded(ALLOWED_HOSTS="*").scopes_of_anonymous == read
    assert loaded(ALLOWED_HOSTS="localhost, 127.0.0.1").scopes_of_anonymous == ALL_SCOPES
    assert loaded(TRUSTED_PROXIES="127.0.0.1").scopes_of_anonymous == read
    two = loaded(ANONYMOUS_SCOPES="status:read,content:read").scopes_of_anonymous
    assert two == read | {Scope.CONTENT_READ}
    assert Scope.MESSAGE_DELETE in loaded(ANONYMOUS_SCOPES="message:delete").scopes_of_anonymous
    with pytest.raises(SettingsError, match="ANONYMOUS_SCOPES must not hold message:delete"):
        loaded(HOST="0.0.0.0", ALLOW_ANONYMOUS="true", ANONYMOUS_SCOPES="message:delete")
    with pytest.raises(SettingsError, match="GATEWAY_ANONYMOUS_SCOPES: must be a comma list of sc"):
        loaded(ANONYMOUS_SCOPES="everything")


@pytest.mark.parametrize("value", ["", " "])
def test_no_scope_named_is_none(value: str) -> None:
    assert loaded(ANONYMOUS_SCOPES=value).scopes_of_anonymous == frozenset()
