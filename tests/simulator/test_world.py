"""Messages that live in time, and the samples."""

import pytest

from gateway.simulator import Report, World, not_found, sample_world
from gateway.simulator.model import STATUS_NAMES
from gateway.simulator.samples import LIVE_ID, LIVE_PHONE
from gateway.simulator.world import Change


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_unknown_pair_is_not_found(clock: Clock) -> None:
    assert World(clock).look("+7 999", 1) == not_found(1, "7999")


def test_a_message_is_the_pair_of_phone_and_id(clock: Clock) -> None:
    world = World(clock)
    world.add(Report(id=1, phone="70001", status=1))
    world.add(Report(id=1, phone="70002", status=20))
    assert world.look("70001", 1).status == 1
    assert world.look("70002", 1).status == 20
    assert world.look("70001", 2).status == -3


@pytest.mark.parametrize("spelling", ["79990000001", "+79990000001", "+7 (999) 000-00-01"])
def test_a_phone_is_its_digits(clock: Clock, spelling: str) -> None:
    world = World(clock)
    world.add(Report(id=1, phone="+7 999 000-00-01", status=1))
    assert world.look(spelling, 1).phone == "79990000001"
    assert world.delete(spelling, 1)


def test_the_case_of_an_email_address_does_not_matter(clock: Clock) -> None:
    world = World(clock)
    world.add(Report(id=1, phone="some-one@example.com", status=2))
    assert world.look("Some-One@Example.COM", 1).status == 2


def test_a_deleted_message_is_gone(clock: Clock) -> None:
    world = World(clock)
    world.add(Report(id=1, phone="70001", status=1))
    assert world.delete("70001", 1)
    assert not world.delete("70001", 1)
    assert world.look("70001", 1).status == -3


def test_changes_come_in_the_order_of_time_and_move_the_last_change(clock: Clock) -> None:
    world = World(clock)
    begun = int(clock.now)
    changes = [Change(30, {"status": 1, "err": 0}), Change(10, {"status": 0})]
    world.add(Report(id=1, phone="70001", status=-1, last=begun), changes)
    seen = []
    for after in (0, 9.9, 10, 29.9, 30, 9999):
        clock.now = begun + after
        report = world.look("70001", 1)
        seen.append((report.status, (report.last or 0) - begun, report.err))
    assert seen == [
        (-1, 0, None),
        (-1, 0, None),
        (0, 10, None),
        (0, 10, None),
        (1, 30, 0),
        (1, 30, 0),
    ]


def test_the_name_follows_the_status(clock: Clock) -> None:
    world = World(clock)
    report = Report(id=1, phone="70001", status=-1, status_name="Ждёт")
    world.add(report, [Change(1, {"comment": "a"}), Change(2, {"status": 1})])
    names = []
    for _ in range(3):
        names.append(world.look("70001", 1).status_name)
        clock.now += 1
    assert names == ["Ждёт", "Ждёт", "Доставлено"]


def test_adding_again_begins_anew(clock: Clock) -> None:
    world = World(clock)
    report = Report(id=1, phone="70001", status=-1)
    world.add(report, [Change(10, {"status": 1})])
    clock.now += 10
    world.add(report, [Change(10, {"status": 1})])
    assert world.look("70001", 1).status == -1
    assert len(world.reports()) == 1


def test_the_samples_have_every_status(clock: Clock) -> None:
    known = {report.status for report in sample_world(clock).reports()}
    assert known == STATUS_NAMES.keys() - {-3}


def test_the_samples_have_every_result_of_a_lookup(clock: Clock) -> None:
    lookups = [report for report in sample_world(clock).reports() if report.is_lookup]
    assert [(report.id, report.status, report.err) for report in lookups] == [
        (2, 1, 0),
        (10, 1, 0),
        (11, 20, 6),
        (12, 20, 1),
        (13, 20, 13),
        (14, 20, 11),
        (15, 20, 12),
        (16, -1, 0),
        (17, 22, 249),
    ]
    assert [report.id for report in lookups if report.rcn] == [10]


def test_the_samples_have_many_kinds(clock: Clock) -> None:
    reports = sample_world(clock).reports()
    assert {report.type for report in reports} == {0, 1, 4, 7, 8, 10}
    assert all((report.flag or 0) % 16 == report.type for report in reports)
    assert 32 + 256 + 1024 in {report.flag for report in reports}
    assert len({(report.phone, report.id) for report in reports}) == len(reports)


def test_the_live_sample_lives(clock: Clock) -> None:
    world = sample_world(clock)
    seen = []
    for _ in range(8):
        seen.append(world.look(LIVE_PHONE, LIVE_ID).status)
        clock.now += 10
    assert seen == [-1, 0, 0, 1, 1, 1, 2, 2]
    clock.now += 100_000
    assert world.look(LIVE_PHONE, LIVE_ID).status == 2
