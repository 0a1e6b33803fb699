"""What each format's reader does where the provider's page leaves it open."""

import json
from zoneinfo import ZoneInfo

import pytest

from gateway.errors import UpstreamBadAnswer
from gateway.model.records import HlrLookup, StatusKey
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected, Refusal

HEAD = "1,1700000000,0,1699999990,79990000001,3.20,SHOP,Доставлено,"
LOOKUP = "1,1700000000,0,250023012345678,79232510066,250,02,"
SENT = "1699999990,79990000001,0.30,HLR,Доставлено,,4"


def fields(
    text: str, all: int | None = None, many: bool | None = None, row: int = 0
) -> dict[str, str]:
    rows = decode(text.encode(), expected=Expected(all, many))
    assert isinstance(rows, list)
    return rows[row].fields


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        ("text", {"message": "text"}),
        ("text,0", {"message": "text", "type": "0"}),
        ("text,note,0", {"message": "text", "comment": "note", "type": "0"}),
        ("text, note, 0", {"message": "text", "comment": "note", "type": "0"}),
        ("a,b,c,0", {"type": "0"}),
        (",,0", {"message": "", "comment": "", "type": "0"}),
        ("a,b", {}),
    ],
)
def test_a_comma_row_tells_the_texts_only_where_they_are_certain(
    tail: str, told: dict[str, str]
) -> None:
    row = fields(HEAD + tail, 1, many=False)
    assert {n: row[n] for n in ("message", "comment", "type") if n in row} == told


def test_a_comma_row_at_full_detail_is_known_by_its_price() -> None:
    row = "1,1700000000,0,1699999990,79990000001,Россия,МТС,г. Москва,3.20,SHOP,Доставлено,a,b,0"
    for all_ in (None, 2):
        told = fields(row, all_)
        assert (told["region"], told["cost"], told["message"]) == ("г. Москва", "3.20", "a")


def test_geography_with_commas_is_not_told() -> None:
    row = "1,1,0,1,79990000001,Korea, Republic of,KT,Seoul,3.20,SHOP,Delivered,a,b,0"
    told = fields(row, 2)
    assert "country" not in told
    assert (told["cost"], told["sender_id"], told["message"]) == ("3.20", "SHOP", "a")


@pytest.mark.parametrize("all_", [None, 0])
def test_a_lookup_at_basic_detail_is_known_by_its_eleven_fields(all_: int | None) -> None:
    told = fields(LOOKUP + "Россия,МегаФон,,", all_)
    assert (told["net"], told["rnet"]) == ("МегаФон", "")


def test_a_lookups_names_with_commas_are_not_told_and_its_numbers_are() -> None:
    for told in (
        fields(LOOKUP + "Россия,Open, JSC,,", 0),
        fields(LOOKUP + f"Россия,Open, JSC,,,{SENT}", 1),
    ):
        assert (told["imsi"], told["mnc"]) == ("250023012345678", "02")
        assert "net" not in told
    assert (told["cost"], told["phone"], told["type"]) == ("0.30", "79990000001", "4")


def test_a_lookups_text_with_a_comma_is_not_told_and_its_id_is() -> None:
    row = LOOKUP + "Россия,МегаФон,,," + SENT.replace(",,4", ",a,b,4")
    assert "message" not in fields(row, 1, many=False)
    listed = fields(f"{row},7", 1, many=True)
    assert (listed["id"], "message" in listed) == ("7", False)


def test_a_message_at_standard_detail_with_eleven_fields_is_no_lookup() -> None:
    rows = decode(f"{HEAD}text,note,0".encode())
    assert isinstance(rows, list)
    assert rows[0].lookup is False


@pytest.mark.parametrize("line", ["-3", "-3,0,0", "-3,,", "-3,0,0,0,0,0,0,0,0,0,0"])
def test_not_found_in_whatever_shape(line: str) -> None:
    assert fields(line, 1, many=False) == {"status": "-3"}


def test_a_message_on_its_way_is_no_error() -> None:
    assert fields("0,1700000000,0")["status"] == "0"
    assert decode(b"0,-9") == Refusal(9)
    assert decode(b"0, -9\n") == Refusal(9)


@pytest.mark.parametrize("body", ["1", "x,1,0", "-", "1;2;3"])
def test_what_is_no_comma_row_is_refused(body: str) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body.encode())


def test_labels_count_in_any_case_and_spacing() -> None:
    told = fields("status=1, CHECK_TIME =15.11.2023 01:13:20,err= 0, id = 7, Phone = 70001")
    assert told == {
        "status": "1",
        "last_date": "15.11.2023 01:13:20",
        "err": "0",
        "id": "7",
        "phone": "70001",
    }


def test_letters_that_only_look_alike_make_no_label() -> None:
    told = fields("Status = 1, err = 0, ımsi = 5, ſender_id = x, meſſage = y, cost = 3.20")
    assert told.keys() == {"status", "err", "cost"}
    with pytest.raises(UpstreamBadAnswer):
        fields("ſtatus = 1")


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        ("message = a, b, comment = c, d, type = 0", ("a, b", "c, d", "0")),
        ("message = a, comment = b, comment = c, type = 0", (None, None, "0")),
        ("message = a, type = 9, comment = b, type = 0", ("a, type = 9", "b", "0")),
        ("message = x = 1, cost = 5, comment = , type = 0", ("x = 1, cost = 5", "", "0")),
        ("message = a, type = 0", ("a", None, "0")),
    ],
)
def test_labels_inside_of_texts(tail: str, told: tuple[str | None, ...]) -> None:
    row = fields(f"Status = 1, cost = 3.20, status_name = ok, {tail}")
    assert (row.get("message"), row.get("comment"), row.get("type")) == told
    assert row["cost"] == "3.20"


def test_a_label_that_comes_twice_is_not_told() -> None:
    assert "region" not in fields("Status = 1, region = a, region = b, cost = 1, message = x")


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE sms [<!ENTITY a "1">]><sms><status>1</status></sms>',
        "<!DOCTYPE sms><sms><status>1</status></sms>",
        "<sms>" + "<a>" * 8 + "</a>" * 8 + "<status>1</status></sms>",
        "<html><status>1</status></html>",
        "<sms><status>1</sms>",
        "<sms><status>1</status></sms><sms/>",
    ],
)
def test_xml_that_is_not_the_providers_is_refused(body: str) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body.encode())


def test_xml_with_a_prologue_an_entity_and_cdata() -> None:
    told = fields(
        '<?xml version="1.0" encoding="windows-1251"?>\n'
        "<SMS><Status>1</Status><message>a &amp; <![CDATA[<b>]]></message><x><y>1</y></x></SMS>"
    )
    assert (told["status"], told["message"]) == ("1", "a & <b>")


def test_json_keeps_what_cannot_be_a_character_out() -> None:
    assert fields('{"status": 1, "message": "a\\ud800b\\ud83d\\ude00"}')["message"] == "a?b😀"


def test_json_values_of_other_kinds_count_as_absent() -> None:
    told = fields('{"status": 1, "err": null, "flag": true, "x": [1], "y": {"z": 1}}')
    assert told == {"status": "1"}


@pytest.mark.parametrize(
    "body", ["[1]", '["a"]', "[[]]", "{}", '{"status": null}', '{"status": "x"}']
)
def test_json_that_holds_no_statuses_is_refused(body: str) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body.encode())


@pytest.mark.parametrize("body", ['{"error": "x"}', '{"error_code": "x"}', "<result><a/></result>"])
def test_a_refusal_without_a_number(body: str) -> None:
    assert decode(body.encode()) == Refusal(0, "x" if '"error":' in body else "")


def test_an_empty_list_has_no_rows() -> None:
    assert decode(b"[]") == []
    assert decode(b"<list></list>") == []


MISSING = "-3,0,0,0,79990000404,0,,Сообщение не найдено,,,{type},404"


@pytest.mark.parametrize("type_", ["0", "1", "8", "12"])
def test_a_missing_message_may_have_the_shape_of_a_whole_one(type_: str) -> None:
    """The type stands where the id stands at all = 0."""
    body = HEAD + "text,note,0,1\n" + MISSING.format(type=type_)
    pair = {"status": "-3", "id": "404", "phone": "79990000404"}
    assert fields(body, 1, many=True, row=1) == pair
    geography = MISSING.replace(",0,,Со", ",Россия,МТС,,0,,Со").format(type=type_)
    assert fields(geography, 2, many=True) == pair


def test_a_single_missing_message_has_no_id_behind_its_type() -> None:
    row = MISSING.format(type="8").removesuffix(",404")
    assert fields(row, 1, many=False) == {"status": "-3", "phone": "79990000404"}
    assert fields("-3,0,0,404,79990000404", 0, many=True)["id"] == "404"


@pytest.mark.parametrize(
    "body",
    [
        '[{"error": "duplicate request, wait a minute", "error_code": 9}]',
        '[{"error": "x", "error_code": 9}, {"error": "x", "error_code": 9}]',
        '{"error": "x", "error_code": 9.0}',
        "<list><result><error>x</error><error_code>9</error_code></result></list>",
        "<list><error>x</error><error_code>9</error_code></list>",
    ],
)
def test_an_error_inside_a_list_is_that_error(body: str) -> None:
    answer = decode(body.encode())
    assert isinstance(answer, Refusal)
    assert answer.number == 9


def test_an_error_beside_rows_spoils_no_row() -> None:
    body = '[{"status": 1, "id": 1, "phone": "70001"}, {"error": "x", "error_code": 1}]'
    assert fields(body) == {"status": "1", "id": "1", "phone": "70001"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Tom & Jerry &amp; co", "Tom & Jerry & co"),
        ("a && b &copy; &#38; &#x41;", "a && b &copy; & A"),
        ("1 < 2, <3", "1 < 2, <3"),
        ("bell\x07 & escape\x1b", "bell & escape"),
        ("&", "&"),
    ],
)
def test_a_text_that_is_no_xml_is_read_all_the_same(text: str, told: str) -> None:
    row = fields(f"<sms><status>1</status><message>{text}</message></sms>")
    assert row == {"status": "1", "message": told}


def test_a_bare_ampersand_spoils_no_list() -> None:
    sms = "<sms><status>1</status><sender_id>{}</sender_id></sms>"
    body = f"<list>{sms.format('H&M')}{sms.format('C&A')}</list>"
    assert [fields(body, row=row)["sender_id"] for row in (0, 1)] == ["H&M", "C&A"]


@pytest.mark.parametrize(
    "body",
    [
        '{"status": 1.0, "err": 0.0, "last_timestamp": 1700000000.0, "type": 4.0}',
        '{"status": "1.0", "err": "0.00", "last_timestamp": "1700000000.0", "type": "4.0"}',
        "<sms><status>1.0</status><err>0.0</err><type>4.0</type></sms>",
        "Status = 1.0, check_time = 15.11.2023 01:13:20, err = 0.0, type = 4.0",
    ],
)
def test_a_number_may_be_printed_with_a_fraction_of_zeros(body: str) -> None:
    rows = decode(body.encode())
    assert isinstance(rows, list)
    key = StatusKey("79990000001", 1)
    found = normalise(rows[0], key, asked=None, zone=ZoneInfo("UTC"))
    assert found is not None
    assert isinstance(found.record, HlrLookup)
    assert found.record.reachable


def test_a_pair_may_be_printed_so_as_well() -> None:
    key = StatusKey("79990000001", 7)
    rows = decode(b'[{"status": 0, "id": 7.0, "phone": 79990000001.0}, {"status": 1, "id": 8}]')
    assert isinstance(rows, list)
    assert match(rows, [key, StatusKey("79990000002", 7)])[key].fields["status"] == "0"


def test_other_fractions_are_no_numbers() -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(b'{"status": 1.5}')


TOO_MANY = {
    "objects": "[" + ",".join(["{}"] * 120_000) + "]",
    "rows": "[" + ",".join(['{"status": 1}'] * 3) + "]",
    "deep json": "[" * 400_000,
    "deep objects": '{"a":' * 80_000,
    "deep xml": "<sms>" + "<a>" * 150_000,
    "xml rows": "<list>" + "<sms><status>1</status></sms>" * 3 + "</list>",
    "many xml rows": "<list>" + "<sms/>" * 80_000 + "</list>",
    "lines": "1,1\n" * 100_000,
    "a few lines": "1,1,0,1,79990000001\n" * 3,
    "text": "Status = 1\n" * 40_000,
    "long": "1" * 600_000,
}


@pytest.mark.parametrize("body", TOO_MANY.values(), ids=TOO_MANY)
def test_more_than_was_asked_for_is_refused_before_it_is_built(body: str) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body.encode(), expected=Expected(0, many=True, rows=2))


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("status", ['"status": 1', '"status": 1.0', '"error_code": 9'])
def test_fields_hold_one_level_more_in_json_as_in_xml(status: str, one: bool) -> None:
    def row(inner: str) -> bytes:
        told = f'{{{status}, "more": {inner}}}'
        return (told if one else f"[{told}]").encode()

    for inner in ('{"a": "b"}', '["a", 1, null]', "[]", "{}"):
        decode(row(inner))
    for inner in ('{"a": {"b": 1}}', "[[1]]", "[" * 50 + "]" * 50):
        with pytest.raises(UpstreamBadAnswer):
            decode(row(inner))


def test_what_was_asked_for_is_read_to_the_largest() -> None:
    rows = [
        {"status": 1, "id": n, "phone": f"7999{n:07}", "message": "Ж{<&\n" * 200}
        for n in range(1000)
    ]
    body = json.dumps(rows, ensure_ascii=False).encode()
    answer = decode(body, expected=Expected(1, many=True, rows=1000))
    assert isinstance(answer, list)
    assert len(answer) == 1000


@pytest.mark.parametrize("body", ["[{}", '[{"status": 1},]', "[{} {}]", "[{}] x", "[,]", "[{},"])
def test_a_broken_list_is_a_bad_answer(body: str) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body.encode(), expected=Expected(0, many=True, rows=5))


def test_white_space_in_a_list_is_of_no_interest() -> None:
    answer = decode(
        b' [ {"status": 1} ,\n{"status": 0}\t] \n', expected=Expected(0, many=True, rows=5)
    )
    assert isinstance(answer, list)
    assert [row.fields["status"] for row in answer] == ["1", "0"]
