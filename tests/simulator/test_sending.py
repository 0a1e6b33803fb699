"""What `send.php` takes, answers and lets live, and the calls beside it."""

import json
from collections.abc import AsyncIterator
from functools import partial
from xml.etree import ElementTree as ET

import pytest

from gateway.simulator import render_error, render_sent
from gateway.simulator.sending import OUTCOMES, REFUSALS
from tests.support.simulator import ACCOUNT, ONE, STATUS, Provider, running

pytestmark = pytest.mark.anyio

PHONE = "79991234567"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as it:
        yield it


async def statuses(provider: Provider, phone: str, id_: int, *moments: float) -> list[int]:
    """Its status so many seconds after it was sent."""
    began, found = provider.now, []
    for moment in moments:
        provider.now = began + moment
        answer = await provider.get(phone=phone, id=id_, fmt=1)
        found.append(int(answer.text.partition(",")[0]))
    return found


# Answers


@pytest.mark.parametrize(
    ("cost", "answers"),
    [
        (
            "0",
            (
                "OK - 1 SMS, ID - 1001",
                "1001,1",
                "<result>\n<id>1001</id>\n<cnt>1</cnt>\n</result>",
                '{\n"id": 1001,\n"cnt": 1\n}',
            ),
        ),
        (
            "1",
            (
                "OK - 1 SMS, COST - 3.20",
                "3.20,1",
                "<result>\n<cost>3.20</cost>\n<cnt>1</cnt>\n</result>",
                '{\n"cost": "3.20",\n"cnt": 1\n}',
            ),
        ),
        (
            "2",
            (
                "OK - 1 SMS, ID - 1001, COST - 3.20",
                "1001,1,3.20",
                "<result>\n<id>1001</id>\n<cnt>1</cnt>\n<cost>3.20</cost>\n</result>",
                '{\n"id": 1001,\n"cnt": 1,\n"cost": "3.20"\n}',
            ),
        ),
        (
            "3",
            (
                "OK - 1 SMS, ID - 1001, COST - 3.20, BALANCE - 99996.80",
                "1001,1,3.20,99996.80",
                (
                    "<result>\n<id>1001</id>\n<cnt>1</cnt>\n<cost>3.20</cost>\n"
                    "<balance>99996.80</balance>\n</result>"
                ),
                '{\n"id": 1001,\n"cnt": 1,\n"cost": "3.20",\n"balance": "99996.80"\n}',
            ),
        ),
    ],
)
@pytest.mark.parametrize("fmt", range(4))
async def test_an_answer_in_each_format(
    provider: Provider, fmt: int, cost: str, answers: tuple[str, ...]
) -> None:
    answer = await provider.send(phones=PHONE, mes="Code", fmt=fmt, cost=cost)
    assert answer.text == answers[fmt]
    media = ("text/plain", "text/plain", "text/xml", "application/json")[fmt]
    assert answer.headers["content-type"] == f"{media}; charset=windows-1251"


def test_the_recorded_answers_of_sending() -> None:
    sent = partial(render_sent, cnt=1, cost=None, balance=None)
    assert sent(id=279, fmt=0) == b"OK - 1 SMS, ID - 279"
    assert len(sent(id=33, fmt=3)) == 22
    assert render_error(3, fmt=0, id=275) == b"ERROR = 3 (no money), ID - 275"
    assert render_error(8, fmt=0, id=639) == b"ERROR = 8 (can't to deliver), ID - 639"
    assert len(render_error(7, fmt=3, id=34)) == 56
    assert render_error(6, fmt=1, id=542) == b"542,-6"


# Lives


async def test_a_message_is_queued_sent_and_delivered(provider: Provider) -> None:
    sent = await provider.send(phones=PHONE, mes="Code", sender="Robot", fmt=1, cost=3)
    assert await statuses(provider, PHONE, 1001, 0, 1, 3.9, 4, 100) == [-1, 0, 0, 1, 1]
    provider.now += 60
    told = await provider.get(phone=PHONE, id=1001, fmt=1, all=1)
    assert told.text == (f"1,1800000004,0,1800000000,{PHONE},3.20,Robot,Доставлено,Code, , 0")
    assert sent.text == "1001,1,3.20,99996.80"


@pytest.mark.parametrize("ending", OUTCOMES)
async def test_the_end_of_the_phone_decides(provider: Provider, ending: str) -> None:
    phone = f"79990{ending}"
    await provider.send(phones=phone, mes="Code")
    last = 0 if ending == "000010" else int(ending)
    assert (await statuses(provider, phone, 1001, 100)) == [last]
    told = (await provider.get(phone=phone, id=1001, fmt=3)).json()
    assert told["err"] == {3: 6, 20: 6, 22: 249, 23: 254, 25: 248}.get(last, 0)


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize("ending", REFUSALS)
async def test_the_end_of_the_phone_refuses(provider: Provider, ending: str, fmt: int) -> None:
    phone = f"79990{ending}"
    answer = await provider.send(phones=f"{PHONE},{phone}", mes="Code", fmt=fmt)
    assert (answer.status_code, answer.content) == (
        200,
        render_error(int(ending) - 90, fmt=fmt, id=1001),
    )
    assert await statuses(provider, PHONE, 1001, 10) == [-3]
    priced = await provider.send(phones=phone, mes="Code", fmt=fmt, cost=1)
    assert priced.content == render_error(int(ending) - 90, fmt=fmt)


async def test_a_lookup_tells_the_network_when_it_is_done(provider: Provider) -> None:
    await provider.send(phones=PHONE, hlr=1)
    assert (await provider.get(phone=PHONE, id=1001, fmt=1)).text == "-1,1800000000,0,,,,,,,,"
    provider.now += 4
    told = (await provider.get(phone=PHONE, id=1001, fmt=3, all=2, charset="utf-8")).json()
    assert (told["status"], told["mcc"], told["net"]) == (1, "250", "МегаФон")
    assert (told["type"], told["sender_id"], told["cost"]) == (4, "HLR", "0.30")
    absent = "79990000020"
    await provider.send(phones=absent, hlr=1)
    provider.now += 4
    told = (await provider.get(phone=absent, id=1002, fmt=3, charset="utf-8")).json()
    assert (told["status"], told["err"], told["imsi"], told["mcc"]) == (20, 6, "", "250")


@pytest.mark.parametrize(
    ("flag", "kind", "phone"),
    [
        ("flash", 1, PHONE),
        ("bin", 2, PHONE),
        ("push", 3, PHONE),
        ("ping", 5, PHONE),
        ("mms", 6, PHONE),
        ("call", 7, PHONE),
        ("mail", 8, "someone@example.com"),
        ("viber", 10, PHONE),
        ("soc", 12, PHONE),
    ],
)
async def test_a_parameter_makes_something_else_of_it(
    provider: Provider, flag: str, kind: int, phone: str
) -> None:
    await provider.send(phones=phone, mes="Code", **{flag: 1})
    told = (await provider.get(phone=phone, id=1001, fmt=3, all=2, charset="utf-8")).json()
    assert (told["type"], told["flag"], "mccmnc" in told) == (kind, kind, kind != 8)


# Parameters


@pytest.mark.parametrize(
    "phones",
    ["79991234567,79990000020", "+7 (999) 123-45-67; 79990000020", "79991234567\n79990000020"],
)
async def test_phones_are_a_list_under_one_id(provider: Provider, phones: str) -> None:
    answer = await provider.send(phones=f"{phones};79991234567", mes="Code", id=77, fmt=3, cost=2)
    assert answer.json() == {"id": 77, "cnt": 2, "cost": "6.40"}
    provider.now += 10
    told = await provider.get(phone="79991234567,79990000020", id="77,77", fmt=3)
    assert [row["status"] for row in told.json()] == [1, 20]


async def test_a_list_has_a_text_for_each(provider: Provider) -> None:
    lines = "79991234567:Пароль: 1\n\n79990000020;79990000021:Пароль: 2"
    answer = await provider.send(list=lines, fmt=3, charset="utf-8")
    assert answer.json()["cnt"] == 3
    for phone, text in (("79991234567", "Пароль: 1"), ("79990000021", "Пароль: 2")):
        told = await provider.get(phone=phone, id=1001, fmt=3, all=1, charset="utf-8")
        assert json.loads(told.content)["message"] == text


async def test_wrong_phones_of_a_list_are_left_out(provider: Provider) -> None:
    answer = await provider.send(phones=f"nobody,12345,{PHONE},{'9' * 16}", mes="Code", fmt=1)
    assert answer.text == "1001,1"
    answer = await provider.send(phones="nobody,12345", mes="Code", fmt=1)
    assert answer.text == "1002,-7"
    answer = await provider.send(phones="someone@example.com", mes="Code", fmt=1)
    assert answer.text == "1003,-7"


async def test_an_id_is_the_clients_or_the_next_that_is_free(provider: Provider) -> None:
    texts = iter(range(100))
    given = [("id", 1001), ("id", 2_147_483_647), ("id", 0), ("id", ""), ("other", 1)]
    answers = [
        (await provider.send(phones=PHONE, mes=next(texts), fmt=3, **{name: id_})).json()["id"]
        for name, id_ in given
    ]
    assert answers == [1001, 2_147_483_647, 1002, 1003, 1004]


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"phones": PHONE},
        {"mes": "Code"},
        {"phones": " ,;", "mes": "Code"},
        {"phones": PHONE, "mes": "Code", "id": "-1"},
        {"phones": PHONE, "mes": "Code", "id": "2147483648"},
        {"phones": PHONE, "mes": "Code", "id": "9" * 5000},
        {"phones": PHONE, "mes": "Code", "id": "²"},
        {"phones": PHONE, "hlr": "0"},
        {"list": f"{PHONE}:"},
        {"list": " "},
    ],
)
async def test_wrong_parameters_send_nothing(
    provider: Provider, given: dict[str, str], fmt: int
) -> None:
    answer = await provider.send(**given, fmt=fmt)
    assert (answer.status_code, answer.content) == (200, render_error(1, fmt=fmt))
    balance = await provider.client.get("/sys/balance.php", params=ACCOUNT)
    assert balance.text == "100000.00"


async def test_a_wrong_password_sends_nothing(provider: Provider) -> None:
    answer = await provider.send(phones=PHONE, mes="Code", psw="wrong", fmt=3)
    assert answer.content == render_error(2, fmt=3)


# Limits and money


async def test_the_same_is_sent_once_a_minute(provider: Provider) -> None:
    one = {"phones": PHONE, "mes": "Code", "fmt": 0}
    assert (await provider.send(**one)).text == "OK - 1 SMS, ID - 1001"
    again = await provider.send(**one | {"cost": 3})
    assert again.text == "ERROR = 9 (duplicate request, wait a minute)"
    assert (await provider.send(**one | {"mes": "Other"})).text == "OK - 1 SMS, ID - 1002"
    provider.now += 60
    assert (await provider.send(**one)).text == "OK - 1 SMS, ID - 1003"
    stats = await provider.stats()
    assert (stats["breaches"], stats["breachesByLimit"]) == (1, {"IDENTICAL": 1})


async def test_the_price_of_the_same_is_told_five_times_a_minute(provider: Provider) -> None:
    one = {"phones": PHONE, "mes": "Code", "fmt": 1, "cost": 1}
    assert [(await provider.send(**one)).text for _ in range(6)] == ["3.20,1"] * 5 + ["0,-9"]
    assert (await provider.send(**one | {"cost": 0})).text == "1001,1"


async def test_sending_leaves_the_limits_of_statuses_alone(provider: Provider) -> None:
    for number in range(20):
        await provider.send(phones=PHONE, mes=number)
    stats = await provider.stats()
    assert (stats["requests"], stats["admitted"], stats["breaches"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("x" * 160, 1), ("x" * 161, 2), ("x" * 307, 3), ("ж" * 70, 1), ("ж" * 71, 2), ("ж" * 135, 3)],
)
async def test_a_long_text_is_several_messages(provider: Provider, text: str, parts: int) -> None:
    answer = await provider.send(phones=PHONE, mes=text, charset="utf-8", fmt=3, cost=2)
    assert answer.json() == {"id": 1001, "cnt": parts, "cost": f"{3.2 * parts:.2f}"}
    told = await provider.get(phone=PHONE, id=1001, fmt=3, all=1, charset="utf-8")
    assert json.loads(told.content)["sms_cnt"] == parts


async def test_without_money_nothing_is_sent(provider: Provider) -> None:
    await provider.post("balance", amount=3.5)
    one = {"phones": PHONE, "mes": "Code", "fmt": 1, "cost": 3}
    assert (await provider.send(**one)).text == "1001,1,3.20,0.30"
    assert (await provider.send(**one | {"mes": "Other"})).text == "1002,-3"
    assert (await provider.send(phones=PHONE, hlr=1, fmt=1, cost=3)).text == "1003,1,0.30,0.00"
    assert await statuses(provider, PHONE, 1002, 0) == [-3]
    await provider.client.post("/control/reset")
    assert (await provider.send(**one)).text == "1001,1,3.20,99996.80"


# The calls beside it


@pytest.mark.parametrize("fmt", range(4))
async def test_the_balance_is_told(provider: Provider, fmt: int) -> None:
    answer = await provider.client.get("/sys/balance.php", params=ACCOUNT | {"fmt": str(fmt)})
    if fmt < 2:
        assert answer.text == "100000.00"
    elif fmt == 2:
        assert ET.fromstring(answer.text).findtext("balance") == "100000.00"  # noqa: S314 - ours
    else:
        assert answer.text == '{\n"balance": "100000.00"\n}'
        more = await provider.client.get("/sys/balance.php", params=ACCOUNT | {"fmt": 3, "cur": 1})
        assert more.json() == {"balance": "100000.00", "currency": "RUB"}


async def test_the_balance_is_told_to_its_owner(provider: Provider) -> None:
    answer = await provider.client.get("/sys/balance.php", params={"login": "demo", "fmt": "1"})
    assert answer.text == "0,-2"


@pytest.mark.parametrize("fmt", range(4))
async def test_another_call_is_an_error_that_says_what_this_is(
    provider: Provider, fmt: int
) -> None:
    text = "this is a simulator without get.php: it has status.php send.php balance.php"
    answer = await provider.client.get("/sys/get.php", params=ACCOUNT | {"fmt": str(fmt)})
    assert (answer.status_code, answer.content) == (200, render_error(1, fmt=fmt, text=text))
    unknown = await provider.client.get("/sys/get.php", params={"fmt": str(fmt)})
    assert unknown.content == render_error(2, fmt=fmt)


async def test_every_call_is_counted_and_told_without_phone_or_text(provider: Provider) -> None:
    await provider.send(phones=f"{PHONE},79990000020", mes="Secret", fmt=3, cost=2)
    await provider.send(phones=PHONE, mes="Secret", cost=1)
    await provider.send(phones=PHONE, mes="Secret", psw="wrong")
    await provider.client.get("/sys/balance.php", params=ACCOUNT)
    for name in ("jobs", "nothing", "x" * 99, "a%0Ab"):
        await provider.client.get(f"/sys/{name}.php", params=ACCOUNT | {"fmt": "1"})
    await provider.get(**ONE)
    stats = await provider.stats()
    assert stats["calls"] == {
        "send.php": 3,
        "balance.php": 1,
        "jobs.php": 1,
        "another": 3,
        "status.php": 1,
    }
    assert stats["requests"] == 1
    assert [line[9:] for line in provider.lines] == [
        "send   fmt=3 SMS to 2 phones -> ok, id 1001",
        "send   fmt=0 SMS to 1 phone -> only priced",
        "send   fmt=0 -> error 2",
        "balance fmt=0 -> ok",
        "jobs.php fmt=1 -> no such call here",
        "nothing.php fmt=1 -> no such call here",
        f"{'x' * 40} fmt=1 -> no such call here",
        "another fmt=1 -> no such call here",
        "single fmt=0 all=0 1 message -> ok",
    ]
    log = (await provider.client.get("/control/log")).json()
    assert log[0] | {"at": ""} == {
        "at": "",
        "call": "send.php",
        "method": "POST",
        "via": "form",
        "id": 1001,
        "phones": 2,
        "type": "SMS",
        "fmt": 3,
        "charset": "windows-1251",
        "outcome": "ok, id 1001",
    }
    assert "Secret" not in json.dumps(log)
    assert PHONE not in json.dumps(log)


async def test_outside_of_the_providers_calls_there_is_a_404(provider: Provider) -> None:
    for path in ("/sys/", "/sys/status", "/sys", "/get.php", "/sys/a/b.php"):
        answer = await provider.client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


# Faults


async def test_a_fault_is_for_one_call(provider: Provider) -> None:
    await provider.post("fault", kind="empty", call="send.php")
    await provider.post("fault", kind="error", value=4, call="balance.php")
    assert (await provider.get(**ONE, fmt=1)).text.startswith("1,")
    assert (await provider.send(phones=PHONE, mes="Code", fmt=1)).text == ""
    balance = await provider.client.get("/sys/balance.php", params=ACCOUNT | {"fmt": "1"})
    assert balance.text == "0,-4"
    assert (await provider.send(phones=PHONE, mes="Other", fmt=1)).text == "1002,1"


async def test_a_broken_answer_unsends_nothing_but_an_error_sends_nothing(
    provider: Provider,
) -> None:
    await provider.post("fault", kind="html", call="send.php")
    await provider.post("fault", kind="error", value=9, call="send.php")
    await provider.send(phones=PHONE, mes="Code", id=5)
    refused = await provider.send(phones=PHONE, mes="Other", id=6, fmt=1)
    assert refused.text == "0,-9"
    provider.now += 10
    assert await statuses(provider, PHONE, 5, 0) == [1]
    assert await statuses(provider, PHONE, 6, 0) == [-3]


async def test_a_charset_of_the_request_is_not_taken_from_its_header(provider: Provider) -> None:
    """Clients name one in the header of a form; the provider goes by the parameter."""
    content = "&".join(f"{name}={value}" for name, value in {**ACCOUNT, **ONE, "fmt": "1"}.items())
    answer = await provider.client.post(
        STATUS,
        content=content,
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    assert answer.text == "1,1700000000,0"
    assert answer.headers["content-type"].endswith("windows-1251")
