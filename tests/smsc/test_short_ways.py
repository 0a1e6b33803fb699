"""What is read the short way, as the provider writes it, is read alike the long way."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamBadAnswer
from gateway.simulator import Report, render
from gateway.simulator.samples import LOOKUP, MESSAGE
from gateway.smsc import fmt_json, fmt_text, fmt_xml
from gateway.smsc.reply import decode
from gateway.smsc.row import Expected
from tests.smsc.test_hostile import mangled
from tests.smsc.test_roundtrip import nasty, nasty_name, reports
from tests.support.size import size, soak

SHORT_WAYS: dict[int, tuple[ModuleType, str]] = {
    0: (fmt_text, "_usually_labelled"),
    2: (fmt_xml, "_usual_rows"),
    3: (fmt_json, "_usual_rows"),
}
"""By format; each gives nothing where an answer is odd."""
SHAPES = list(product(SHORT_WAYS, (1, 2), (False, True)))
CASES = size(small=1_000, whole=100_000)
"""Of each format."""


@contextmanager
def _the_long_way(fmt: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*SHORT_WAYS[fmt], lambda *_: None)
        yield


def _read(body: bytes, expected: Expected = Expected()) -> object:  # noqa: B008 - a constant
    try:
        return decode(body, expected=expected)
    except UpstreamBadAnswer as error:
        return error.detail


@soak
@pytest.mark.parametrize("fmt", SHORT_WAYS)
def test_mangled_answers_are_read_alike(fmt: int) -> None:
    random_ = random.Random(fmt)
    for _ in range(CASES):
        body = mangled(random_, fmt)
        expected = Expected(rows=random_.choice([None, 1, 2]))
        told = _read(body, expected)
        with _the_long_way(fmt):
            assert told == _read(body, expected), body


@pytest.mark.parametrize("fmt", SHORT_WAYS)
@given(st.lists(reports(nasty, nasty_name), min_size=1, max_size=4), st.integers(0, 2))
def test_rendered_answers_are_read_alike(fmt: int, told: list[Report], all_: int) -> None:
    for many in (False, True):
        body = render(told[: None if many else 1], fmt=fmt, all=all_, many=many, charset="utf-8")
        short = _read(body)
        with _the_long_way(fmt):
            assert short == _read(body)


@pytest.mark.parametrize(("fmt", "all_", "many"), SHAPES)
@pytest.mark.parametrize("report", [MESSAGE, LOOKUP], ids=["message", "lookup"])
def test_what_the_provider_writes_is_read_the_short_way(
    report: Report, fmt: int, all_: int, many: bool
) -> None:
    module, name = SHORT_WAYS[fmt]
    short = getattr(module, name)
    given: list[bool] = []

    def spy(*arguments: Any) -> object:  # noqa: ANN401 - whatever it takes
        result = short(*arguments)
        given.append(bool(result))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, spy)
        decode(render([report], fmt=fmt, all=all_, many=many, charset="utf-8"))
    assert given == [True]


XML = st.lists(
    st.sampled_from(
        [
            *("<list>", "</list>", "<sms>", "</sms>", "<result>", "</result>", "\n", " ", "\xa0"),
            *("<status>1</status>", "<err>0</err>", "<err></err>", "<err/>", "<error>x</error>"),
            *("<cost> 3.20\n</cost>", "<Cost>1</Cost>", "<x>1</x>", '<net a="b">1</net>'),
            *("<net>H&M</net>", "<net>&lt;&amp;lt;&quot;&apos;&gt;&copy;&amp</net>"),
            *("<net>&#13;&#65;</net>", "<net>\r</net>", "<net>a\x07</net>", "<net>]]></net>"),
            *("<net>\x85\x7f\u2028</net>", "<net>\ufffe</net>", "<net>\U0001ffff\ufffd</net>"),
            *("<net>a > b</net>", "<net>1 < 2</net>", "<net>1<2</net>", "<net><![CDATA[1]]></net>"),
            *(
                "<net><cn>1</cn></net>",
                "<net>",
                "</net>",
                "x",
                "&",
                "<!-- -->",
                "<?x y?>",
                "<",
                ">",
            ),
        ]
    ),
    max_size=6,
)


@given(st.lists(XML, max_size=3), st.booleans(), st.booleans())
def test_xml_is_read_alike(told: list[list[str]], in_list: bool, in_rows: bool) -> None:
    rows = ["".join(pieces) for pieces in told]
    if in_rows:
        rows = [f"<sms>{row}</sms>" for row in rows]
    text = f"<list>{''.join(rows)}</list>" if in_list else "".join(rows)
    usual = fmt_xml._usual_rows(text)  # noqa: SLF001 - both ways
    with _the_long_way(2):
        assert usual is None or usual == fmt_xml.read(text)


LABELLED = st.lists(
    st.tuples(
        st.sampled_from(["Status", "err", "Country", "operator_orig", "cost", "a"]),
        st.sampled_from([" = ", "= ", "=", " =  ", "  = "]),
        st.sampled_from(["1", "", "a b", "a,err = 2", "x= y", "МТС ", "1, cost"]),
        st.sampled_from([", ", ",", " ,", ", , "]),
    ),
    max_size=4,
)


@given(LABELLED)
def test_labels_are_read_alike_the_short_way_and_the_long_one(
    parts: list[tuple[str, str, str, str]],
) -> None:
    head = "Status = 1, " + "".join("".join(part) for part in parts).strip(", ")
    usual = fmt_text._usually_labelled(head)  # noqa: SLF001 - both ways
    assert usual in ({}, fmt_text._oddly_labelled(head))  # noqa: SLF001 - both ways


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([" 1 ", "3.20", "\ud800"]),
    st.lists(st.integers(), max_size=2),
)
OBJECTS = st.dictionaries(
    st.sampled_from(["status", "id", "cost", "Phone", "error", "error_code", "other", "message"]),
    VALUES,
    max_size=5,
)


@given(OBJECTS | st.lists(OBJECTS, max_size=3), st.none() | st.integers(1, 3))
def test_json_is_read_alike_the_short_way_and_the_long_one(value: object, rows: int | None) -> None:
    def read(text: str) -> object:
        try:
            return fmt_json.read(text, rows)
        except UpstreamBadAnswer as error:
            return str(error)

    text = json.dumps(value)
    usual = fmt_json._usual_rows(text, rows)  # noqa: SLF001 - both ways
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmt_json, "_usual_rows", lambda *_: None)
        assert usual in (None, read(text))
