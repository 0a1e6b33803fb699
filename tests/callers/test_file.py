"""The clients file: what it says, and one sentence for what it can't say."""

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.callers import file
from gateway.callers.file import ClientsFileError, parse, read
from gateway.callers.model import Allowance, Caller, Scope
from gateway.callers.write import append, create_key, entry
from gateway.webhooks.address import read_address
from tests.support.receiver import OTHER_SECRET, SECRET

PATH = Path("clients.toml")
A, B = sha256(b"a").hexdigest(), sha256(b"b").hexdigest()
CLIENT = f"""
[[client]]
name = "billing"
key_sha256 = "{A}"
scopes = ["status:read"]
"""
JWT = """
[jwt]
jwks_url = "https://id.example/jwks.json"
issuer = "https://id.example/"
audience = "smsc-gateway"
"""


def test_everything_a_client_can_have() -> None:
    clients = parse(
        f"""
        [[client]]
        name = "ops.team@example_1-a"
        key_sha256 = ["{A}", "{B.upper()}"]
        scopes = ["status:read", "provider:read"]
        expires = 2027-01-15T11:00:00+03:00
        quota_per_minute = 600
        max_streams = 20
        """,
        PATH,
    )
    caller = Caller(
        "ops.team@example_1-a",
        frozenset({Scope.STATUS_READ, Scope.PROVIDER_READ}),
        1_800_000_000,
        Allowance(600, 20),
    )
    digests = [sha256(b"a").digest(), sha256(b"b").digest()]
    assert clients.keys == {digest: (digest, caller) for digest in digests}
    assert clients.callers == {caller.name: caller}
    assert clients.jwt is None


def test_the_least_a_client_can_have() -> None:
    caller = parse(CLIENT, PATH).callers["billing"]
    assert (caller.expires_at, caller.quota) == (None, Allowance(None, None))


def test_tokens_alone_are_enough() -> None:
    rules = parse(JWT, PATH).jwt
    assert rules is not None
    assert (rules.audience, rules.scope_claim, rules.name_claim) == (
        ["smsc-gateway"],
        "scope",
        "sub",
    )


def test_the_form_in_the_module_is_read() -> None:
    form = (file.__doc__ or "").split("```toml")[1].split("```")[0].replace("9f86d081…", A)
    clients = parse(form, PATH, accounts=["ru", "kz"])
    assert clients.callers["billing"].quota == Allowance(600, 20)
    assert clients.callers["billing"].accounts == frozenset({"ru"})
    assert clients.jwt is not None


WEBHOOK = f"""
[[client.webhook]]
name = "receiver"
url = "https://billing.internal/sms?token=1"
secret = "{SECRET}"
"""


def test_everything_a_webhook_can_have() -> None:
    more = f"""
    state = "DELIVERED,READ"
    sender = ["SHOP", "BANK"]
    isFinal = true
    {WEBHOOK.replace("receiver", "other").replace(f'"{SECRET}"', f'["{SECRET}", "{OTHER_SECRET}"]')}
    """
    clients = parse(CLIENT + WEBHOOK + more, PATH)
    one, other = clients.webhooks.values()
    assert (one.name, one.url, one.secrets) == (
        "receiver",
        "https://billing.internal/sms?token=1",
        (SECRET,),
    )
    assert one.filters == {
        "state": ("DELIVERED,READ",),
        "sender": ("SHOP", "BANK"),
        "isFinal": ("true",),
    }
    assert one.client is clients.callers["billing"]
    assert (other.name, other.secrets, other.filters) == ("other", (SECRET, OTHER_SECRET), {})
    assert SECRET not in repr(clients)
    assert "token=1" not in repr(clients)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (WEBHOOK * 2, ": client 1 (billing): webhook receiver: another webhook has that name;"),
        (WEBHOOK.replace("name", "nam"), ": client 1 (billing): webhook 1: name is missing."),
        (WEBHOOK.replace("url", "uri"), ": client 1 (billing): webhook 1 (receiver): url is missi"),
        (
            WEBHOOK.replace("https:", "ftp:"),
            ": client 1 (billing): webhook 1 (receiver): url: must",
        ),
        (
            WEBHOOK.replace("//", "//me:pw@"),
            ": client 1 (billing): webhook 1 (receiver): url: must",
        ),
        (
            WEBHOOK.replace("internal", "a b"),
            ": client 1 (billing): webhook 1 (receiver): url: mus",
        ),
        (
            WEBHOOK.replace("whsec_", ""),
            ": client 1 (billing): webhook 1 (receiver): secret: must ",
        ),
        (WEBHOOK.replace("MfKQ", "M?KQ"), ": client 1 (billing): webhook 1 (receiver): secret: mu"),
        (WEBHOOK.replace("MfKQ9r8GKYqr", ""), ": client 1 (billing): webhook 1 (receiver): secret"),
        (
            WEBHOOK.replace(f'"{SECRET}"', f"{[SECRET] * 3}"),
            ": client 1 (billing): webhook 1 (receiver): secret may have at most 2 values.",
        ),
        (
            WEBHOOK + 'stat = "red"',
            ": client 1 (billing): webhook 1 (receiver): 'stat' is not known here; did you mean ",
        ),
        (
            WEBHOOK.replace("[[client.webhook]]", "[client.webhook]"),
            ": client 1 (billing): a webhook is written as [[client.webhook]], with two brackets.",
        ),
        (
            WEBHOOK + 'state = "LOST"',
            ": client 1 (billing): webhook receiver: state must not be 'LOST'; there are QUEUED, ",
        ),
        (
            WEBHOOK + "phone = 7",
            ": client 1 (billing): webhook 1 (receiver): phone: should be a val",
        ),
    ],
)
def test_what_a_webhook_can_not_have(text: str, sentence: str) -> None:
    with pytest.raises(ClientsFileError) as caught:
        parse(CLIENT + text, PATH, read_address)
    told = str(caught.value)
    assert told.startswith(f"{PATH}{sentence}"), told
    assert told.endswith((".", "?"))
    assert SECRET.removeprefix("whsec_") not in told
    assert "pw" not in told


def refused(text: str) -> str:
    """The sentence for a text that is wrong."""
    with pytest.raises(ClientsFileError) as caught:
        parse(text, PATH)
    told = str(caught.value)
    assert "\n" not in told
    assert "sgw_" not in told, "what may be a key is repeated"
    assert told.endswith((".", "?"))
    return told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ": names nobody; write a client with `smsc-gateway client add`."),
        ("client = ", " is not TOML: Invalid value (at end of document)."),
        ("[client]\nname = 'a'", ": a client is written as [[client]], with two brackets."),
        ("[[clients]]\nname = 'a'", ": 'clients' is not known here; did you mean client?"),
        ("client = [1]", ": client 1: should be a valid dictionary or instance of "),
        ("sgw_abc = 1", ": a key stands where a field should be."),
        (CLIENT + CLIENT, ": client 2 (billing): another client has that name; change one."),
        (
            CLIENT + CLIENT.replace("billing", "ops"),
            ": client 2 (ops): key_sha256: billing has the same key; give it to one.",
        ),
        (CLIENT.replace("name", "nam"), ": client 1: name is missing."),
        (CLIENT.replace("billing", "sgw_abc!"), ": client 1: name: must be 1 to 64 letters"),
        (CLIENT.replace("billing", "a b"), ": client 1: name: must be 1 to 64 letters, digits "),
        (CLIENT.replace("billing", "jwt:a"), ": client 1: name: must be 1 to 64 letters, "),
        (CLIENT.replace("billing", ""), ": client 1: name: must be 1 to 64 letters, digits and "),
        (CLIENT.replace('"billing"', "7"), ": client 1: name: should be a valid string."),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, sentence: str) -> None:
    assert refused(text).startswith(f"clients.toml{sentence}")


HASH_RULE = "must be 64 hex digits, as `smsc-gateway client add` prints them."
MOMENT_RULE = "must be a date and time with its offset, such as 2027-01-01T00:00:00Z."


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("", "quota = 1", "'quota' is not known here; did you mean quota_per_minute?"),
        ("", "xyzzy = 1", "'xyzzy' is not known here; leave it out."),
        ("", "sgw_abc = 1", "a key stands where a field should be."),
        (A, "sgw_very-secret", f"key_sha256: {HASH_RULE}"),
        (A, A[1:], f"key_sha256: {HASH_RULE}"),
        (A, A[:-1] + "١", f"key_sha256: {HASH_RULE}"),
        (f'"{A}"', "[]", "key_sha256 is empty."),
        (f'"{A}"', "7", "key_sha256: should be a valid list."),
        (f'"{A}"', f'["{A}", "{A}"]', "key_sha256: billing has the same key; give it to one."),
        ("status:read", "status:reed", "scopes: must be scopes; did you mean status:read?"),
        ("status:read", "admin", f"scopes: must be scopes; there are {', '.join(Scope)}."),
        ('["status:read"]', "[]", "scopes is empty."),
        ('["status:read"]', '"status:read"', "scopes: should be a valid list."),
        ("", "expires = 2027-01-01", f"expires: {MOMENT_RULE}"),
        ("", "expires = 2027-01-01T00:00:00", f"expires: {MOMENT_RULE}"),
        ("", 'expires = "2027-01-01T00:00:00Z"', f"expires: {MOMENT_RULE}"),
        (
            "",
            "quota_per_minute = 0",
            "quota_per_minute: should be greater than or equal to 1.",
        ),
        (
            "",
            "quota_per_minute = 100001",
            "quota_per_minute: should be less than or equal to 100000.",
        ),
        ("", 'quota_per_minute = "600"', "quota_per_minute: should be a valid integer."),
        ("", "quota_per_minute = true", "quota_per_minute: should be a valid integer."),
        ("", "max_streams = -1", "max_streams: should be greater than or equal to 0."),
    ],
)
def test_what_is_wrong_with_a_client_is_one_sentence(right: str, wrong: str, sentence: str) -> None:
    text = CLIENT.replace(right, wrong) if right else CLIENT + wrong
    assert refused(text) == f"clients.toml: client 1 (billing): {sentence}"


URL_RULE = "must be an https address; plain http is for loopback alone."


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("issuer", "issuers", "issuer is missing."),
        ("", "jwks_uri = ''", "'jwks_uri' is not known here; did you mean jwks_url?"),
        ("https://id.example/jwks", "http://id.example/jwks", f"jwks_url: {URL_RULE}"),
        ("https://id.example/jwks", "file:///etc/jwks", f"jwks_url: {URL_RULE}"),
        ("", "jwks_file = 'keys.json'", "jwks_url or jwks_file must be given, one of them."),
        ("jwks_url", "scope_claim", "jwks_url or jwks_file must be given, one of them."),
        ('"smsc-gateway"', "[]", "audience is empty."),
        ('"https://id.example/"', '""', "issuer is empty."),
        ("", "quota_per_minute = 0", "quota_per_minute: should be greater than or equal to 1."),
    ],
)
def test_what_is_wrong_with_the_rules_for_tokens_is_one_sentence(
    right: str, wrong: str, sentence: str
) -> None:
    text = JWT.replace(right, wrong) if right else JWT + wrong
    assert refused(text) == f"clients.toml: [jwt]: {sentence}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_issuer_may_be_on_loopback_without_tls(host: str) -> None:
    assert parse(JWT.replace("https://id.example/j", f"http://{host}:1/j"), PATH).jwt


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    with pytest.raises(ClientsFileError, match=r"clients.toml can't be read: No such file"):
        read(path)
    path.write_bytes(CLIENT.encode("utf-16"))
    with pytest.raises(ClientsFileError, match=r"clients.toml is not UTF-8 text\.$"):
        read(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(CLIENT)
    path.chmod(0o644)
    assert read(path).callers
    path.chmod(mode)
    with pytest.raises(ClientsFileError, match=r"may be written by other users .*: chmod go-w /"):
        read(path)


def test_keys_are_random_and_known_by_their_hash() -> None:
    made = [create_key() for _ in range(100)]
    assert len({key for key, _ in made}) == 100
    for key, key_sha256 in made:
        assert sha256(key.encode()).hexdigest() == key_sha256
        assert key.startswith("sgw_")
        assert len(key) == 47  # 43 characters of base64 are 256 bits


def test_an_entry_is_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    append(path, entry("a", A, [Scope.STATUS_READ]))
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("# ours\n" + path.read_text())
    path.chmod(0o640)
    append(path, entry("b", B, [Scope.STATUS_READ, Scope.STATUS_READ, Scope.CONTENT_READ]))
    assert path.read_text() == (
        f'# ours\n[[client]]\nname = "a"\nkey_sha256 = "{A}"\nscopes = ["status:read"]\n\n'
        f'[[client]]\nname = "b"\nkey_sha256 = "{B}"\nscopes = ["status:read", "content:read"]\n'
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert set(read(path).callers) == {"a", "b"}
    assert [one.name for one in tmp_path.iterdir()] == ["clients.toml"]


def test_an_entry_that_is_no_good_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(CLIENT)
    with pytest.raises(ClientsFileError, match=r"client 2 \(billing\): another client has that"):
        append(path, entry("billing", B, [Scope.STATUS_READ]))
    with pytest.raises(ClientsFileError, match="can't be written: No such file or directory"):
        append(tmp_path / "none" / "clients.toml", entry("b", B, [Scope.STATUS_READ]))
    assert path.read_text() == CLIENT
    assert [one.name for one in tmp_path.iterdir()] == ["clients.toml"]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "clients.toml"
    path.write_text(CLIENT)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClientsFileError, match=r"can't be written: No space left on device\.$"):
        append(path, entry("b", B, [Scope.STATUS_READ]))
    assert path.read_text() == CLIENT
    assert [one.name for one in tmp_path.iterdir()] == ["clients.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "clients.toml"
    path.symlink_to(tmp_path / "real" / "clients.toml")
    append(path, entry("a", A, [Scope.STATUS_READ]))
    assert path.is_symlink()
    assert set(read(path).callers) == {"a"}
