"""Records as bytes: the same as the models tell, and kept only as long as what they are made of."""

from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.described import as_model
from gateway.model.freshness import Answer, CacheEntry
from gateway.model.records import HlrLookup, Message, StaleReason, StatusKey
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Row
from gateway.web.projection import _KEPT, KEPT, Pick, Projection, _Kept, pick_all
from tests.support.gateway import settings

NOW = 1_800_000_000.0
WHOLE = Projection({kind.__name__: pick_all(kind) for kind in (Message, HlrLookup)})

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FIELDS = st.fixed_dictionaries(
    {"status": st.sampled_from(["-2", "0", "1", "3", "20", "22", "77"])},
    optional={
        "err": st.sampled_from(["0", "6", "13", "255", "999"]),
        "last_timestamp": st.integers(1, 2_000_000_000).map(str),
        "send_timestamp": st.integers(1, 2_000_000_000).map(str),
        "type": st.sampled_from(["0", "4", "7", "99"]),
        "cost": st.sampled_from(["1.20", "0", "x"]),
        "message": _TEXT,
        "comment": _TEXT,
        "country": _TEXT,
        "operator": _TEXT,
        "operator_orig": _TEXT,
        "sms_cnt": st.integers(0, 2**40).map(str),
        "imsi": st.just("250023012345678"),
        "rcn": _TEXT,
    },
)


def known_of(fields: dict[str, str]) -> CacheEntry:
    found = normalise(
        Row(fields),
        StatusKey("79990000001", 1),
        asked=Message,
        zone=settings().zone,
    )
    assert found is not None
    return CacheEntry(found.record, NOW - 100, NOW + 100)


def as_json(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    model = as_model(answer.record, answer.freshness)
    return model.model_dump(mode="json", by_alias=True, exclude={"history"})


@given(FIELDS, st.booleans(), st.sampled_from([None, *StaleReason]))
def test_a_projection_of_everything_is_the_record(
    fields: dict[str, str], live: bool, reason: StaleReason | None
) -> None:
    known = known_of(fields)
    for now in (NOW + 0.5, NOW + 3):
        for next_at in (None, NOW + 12.3):
            for stale in (False, True):
                answer = Answer(known, now, live, next_at, stale, reason if stale else None)
                assert orjson.loads(WHOLE.write(answer)) == as_json(answer)


def test_what_is_picked_is_written_under_its_name_and_in_order() -> None:
    known = known_of({"status": "1", "cost": "1.20"})
    inner = (Pick("a", "amount"), Pick("b", constant=b'"Money"'))
    cost = (Pick("m", "cost", inner), Pick("empty", "cost", ()))
    picks = (Pick("z", "state"), *cost, Pick("none", "error", inner))
    assert Projection({"Message": picks}).write(Answer(known, NOW)) == (
        b'{"z":"DELIVERED","m":{"a":"1.20","b":"Money"},"empty":{},"none":null}'
    )


@pytest.mark.parametrize("seconds", [0, 1, 99])
def test_what_ages_is_told_anew_each_time(seconds: int) -> None:
    known = known_of({"status": "1"})
    picks = (Pick("age", "age_seconds"), Pick("source", "source"), Pick("at", "observed_at"))
    projection = Projection({"Message": (Pick("freshness", "freshness", picks),)})
    told = projection.write(Answer(known, NOW + seconds))
    assert told == (
        b'{"freshness":{"age":%d,"source":"CACHE","at":"2027-01-15T07:58:20Z"}}' % (100 + seconds)
    )


def test_only_a_few_projections_are_kept_of_a_record() -> None:
    known = known_of({"status": "1"})
    made = [Projection({"Message": (Pick("id", "id"),)}) for _ in range(10 * KEPT)]
    for projection in made:
        projection.write(Answer(known, NOW))
    assert sum(projection in _KEPT.of(known) for projection in made) <= KEPT


def test_of_the_records_last_asked_for_what_was_written_is_kept() -> None:
    kept, projection = _Kept(10), cast("Projection", "any")
    records = [known_of({"status": "1"}) for _ in range(40)]
    for known in records:
        kept.of(known)[projection] = cast("Any", known)
        assert kept.of(records[0])  # is asked for again and again
    assert all(kept.of(known) for known in records[-5:])
    assert not any(kept.of(known) for known in records[1:19])
