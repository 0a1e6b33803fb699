"""What is written of a record is read as it was, and packed it takes little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.freshness import Known, at_observation
from gateway.records import DetailLevel, FreshnessSource, HlrLookup, Message, StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode
from gateway.smsc.row import Expected
from gateway.store.written import pack, read, unpack, write
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
        freshness=at_observation(1_800_000_000, DetailLevel.FULL),
        zone=settings().zone,
    )
    assert found
    assert isinstance(found.record, Message)
    return found.record


RECORD = sample().model_copy(update={"is_final": False})


@given(keys, known)
def test_what_is_written_is_read(key: StatusKey, known: Known) -> None:
    assert read(write(key, known)) == (key, known)


@given(keys, known)
def test_what_is_packed_is_unpacked(key: StatusKey, known: Known) -> None:
    assert unpack(pack(key, known)) == (key, known)


@given(st.binary(max_size=200))
def test_what_was_not_written_is_not_read(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(body)


def test_packed_it_takes_little() -> None:
    packed = pack(RECORD.key, Known(RECORD, 1_800_000_000.25, 1_800_000_012.75))
    assert len(packed) < 300 < len(write(RECORD.key, Known(RECORD, 0, 0))) / 2
