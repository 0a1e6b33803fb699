"""A record only moves forward."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import merge as merging
from gateway.model.merge import Observed
from gateway.model.records import DetailLevel, HlrLookup, Message, Record, StatusKey
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Row

FORWARD = [-1, 0, 20, 1, 2, 4]


def record(
    status: int, last: int | None = None, asked: type[Record] = Message, **fields: str
) -> Record:
    row = {"status": str(status), **fields}
    if last is not None:
        row["last_timestamp"] = str(last)
    result = normalise(Row(row), StatusKey("79990000001", 1), asked=asked, zone=UTC)
    assert result is not None
    return result.record


def merge(known: Record, news: Record) -> Record:
    return joined(known, news)[0]


def joined(
    known: Record,
    news: Record,
    before: DetailLevel = DetailLevel.FULL,
    after: DetailLevel = DetailLevel.FULL,
) -> Observed:
    return merging.merge(Observed(known, before), Observed(news, after))


def message(*args: object, **fields: object) -> Message:
    made = record(*args, **fields)  # type: ignore[arg-type] # passed on as they are
    assert isinstance(made, Message)
    return made


@pytest.mark.parametrize("known", FORWARD)
@pytest.mark.parametrize("news", FORWARD)
@pytest.mark.parametrize("times", [(1, 2), (2, 1), (1, 1), (None, None)])
def test_the_state_that_is_further_on_stays(
    known: int, news: int, times: tuple[int | None, int | None]
) -> None:
    merged = merge(message(known, times[0]), message(news, times[1]))
    assert merged.provider_status.code == max(known, news, key=FORWARD.index)


def test_of_two_failures_the_later_one_stays() -> None:
    late, early = message(3, 20), message(22, 10)
    for merged in (merge(late, early), merge(early, late)):
        assert merged.provider_status.code == 3


def test_a_state_moves_with_all_that_belongs_to_it() -> None:
    merged = merge(message(20, 10, err="6"), message(1, 20, err="0"))
    assert isinstance(merged, Message)
    assert merged.error is None
    assert (merged.state, merged.state_group, merged.smpp.name) == ("DELIVERED",) * 3
    assert merged.last_status_time == datetime.fromtimestamp(20, UTC)


def test_a_less_detailed_answer_erases_nothing() -> None:
    full = message(
        1, 10, status_name="Доставлено", message="text", comment="c", operator="A",
        operator_orig="B", mccmnc="25002", type="0", flag="0", sms_cnt="2", err="0",
    )  # fmt: skip
    assert joined(full, message(1, 10), after=DetailLevel.BASIC) == (full, DetailLevel.FULL)


def test_after_a_new_state_seen_with_less_detail_the_detail_is_less() -> None:
    sent, delivered = message(0, 10, status_name="Передано"), message(1, 20)
    merged, detail = joined(sent, delivered, after=DetailLevel.BASIC)
    assert merged.provider_status.text is None
    assert detail is DetailLevel.BASIC


def test_more_detail_fills_the_gaps() -> None:
    basic, full = message(1, 10), message(1, 10, message="text")
    merged, detail = joined(basic, full, before=DetailLevel.BASIC)
    assert (merged.text, detail) == ("text", DetailLevel.FULL)


def test_an_error_number_is_kept_where_a_later_answer_leaves_it_out() -> None:
    merged = merge(message(20, 10, err="6"), message(20, 10))
    assert merged.error is not None


def test_a_lookup_keeps_its_result() -> None:
    done = record(1, 10, asked=HlrLookup, err="0", imsi="250", net="МегаФон", rcn="", rnet="")
    less = record(1, 10, HlrLookup)
    merged = merge(done, less)
    assert isinstance(merged, HlrLookup)
    assert (merged.reachability, merged.reachable, merged.imsi) == ("REACHABLE", True, "250")
    assert merged.roaming.status == "NOT_ROAMING"


def test_a_lookup_only_moves_forward() -> None:
    pending = record(-1, 20, asked=HlrLookup)
    done = record(20, 10, asked=HlrLookup, err="6")
    for merged in (merge(pending, done), merge(done, pending)):
        assert isinstance(merged, HlrLookup)
        assert (merged.state, merged.reachability) == ("COMPLETED", "ABSENT")


texts = st.sampled_from(["", "a", "b"])
messages = st.builds(
    lambda status, last, err, text, operator: message(
        status, last, err=err, message=text, operator=operator
    ),
    st.sampled_from([-2, -1, 0, 1, 2, 3, 4, 20, 22, 77]),
    st.integers(1, 3),
    st.sampled_from(["0", "6"]),
    texts,
    texts,
)


@given(messages, messages)
def test_nothing_known_is_lost(known: Message, news: Message) -> None:
    merged = merge(known, news)
    assert (merged.text is None) == (known.text is None and news.text is None)
    assert not (known.is_final and not merged.is_final)


@given(messages, messages)
def test_the_same_news_twice_change_nothing(known: Message, news: Message) -> None:
    once = merge(known, news)
    assert merge(once, news) == once
