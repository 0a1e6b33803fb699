"""The form that is sent."""

from gateway.model.records import DetailLevel, StatusKey
from gateway.smsc.query import Credentials, delete_form, status_form

LOGIN = Credentials(login="a", password="hush")
KEYS = [StatusKey("79990000001", 1), StatusKey("79990000002", 2)]


def test_one_pair_is_a_plain_single_request() -> None:
    form = status_form(
        KEYS[:1], credentials=LOGIN, detail=DetailLevel.BASIC, fmt=3, charset="utf-8"
    )
    assert form == {
        "login": "a",
        "psw": "hush",
        "phone": "79990000001",
        "id": "1",
        "fmt": "3",
        "all": "0",
        "charset": "utf-8",
    }


def test_many_pairs_are_a_list_in_the_same_order() -> None:
    form = status_form(KEYS, credentials=LOGIN, detail=DetailLevel.FULL, fmt=1, charset="koi8-r")
    assert (form["phone"], form["id"], form["all"]) == ("79990000001,79990000002", "1,2", "2")


def test_an_api_key_goes_alone() -> None:
    form = status_form(
        KEYS[:1],
        credentials=Credentials(api_key="k"),
        detail=DetailLevel.BASIC,
        fmt=3,
        charset="utf-8",
    )
    assert form["apikey"] == "k"
    assert not {"login", "psw"} & set(form)


def test_credentials_do_not_print() -> None:
    assert "hush" not in repr(LOGIN)


def test_a_deletion_names_one_pair() -> None:
    form = delete_form(KEYS[0], credentials=LOGIN, fmt=3, charset="utf-8")
    assert form == {
        "login": "a",
        "psw": "hush",
        "phone": "79990000001",
        "id": "1",
        "del": "1",
        "fmt": "3",
        "charset": "utf-8",
    }
