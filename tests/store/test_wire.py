"""What is written of a record is read as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.model.freshness import Known
from gateway.model.records import DetailLevel, FreshnessSource, HlrLookup, Message, StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode
from gateway.smsc.row import Expected
from gateway.store.codec import read, write
from tests.support.gateway import settings

moments = st.floats(0, 4e9)
known = st.builds(
    Known,
    st.none() | st.from_type(Message) | st.from_type(HlrLookup),
    moments,
    moments,
    st.booleans(),
    st.integers(0, 100),
    st.sampled_from(FreshnessSource),
    st.booleans(),
    st.sampled_from(DetailLevel),
)
keys = st.builds(StatusKey, st.from_regex("[0-9]{5,20}", fullmatch=True), st.integers(1, 2**31 - 1))


def sample() -> Message:
    """A message at full detail."""
    body = render([MESSAGE], fmt=3, all=2, many=False, charset="utf-8")
    rows = decode(body, expected=Expected(2, many=False))
    assert isinstance(rows, list)
    found = normalise(
        rows[0],
        StatusKey(MESSAGE.phone, MESSAGE.id),
        asked=Message,
        zone=settings().zone,
    )
    assert found
    assert isinstance(found.record, Message)
    return found.record


RECORD = replace(sample(), is_final=False)


@given(keys, known)
def test_what_is_written_is_read(key: StatusKey, known: Known) -> None:
    assert read(write(key, known)) == (key, known)


@given(st.binary(max_size=200))
def test_what_was_not_written_is_not_read(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(body)


def test_records_that_are_read_share_what_they_have_in_common() -> None:
    first, second = (read(write(RECORD.key, Known(RECORD, 0, 0)))[1].record for _ in range(2))
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert first is not second
    assert first.subscriber is second.subscriber
