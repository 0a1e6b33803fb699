"""What is kept of follows: which keys, for whom, until when, and how far each of them is."""

from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from gateway.archive.account import ACCOUNT, account
from gateway.archive.rows import batches, take_numbers
from gateway.archive.states import STATES
from gateway.archive.tables import FOLLOWED, FOLLOWS
from gateway.errors import InvalidArgument, QuotaExceeded
from gateway.model.records import DetailLevel, MessageState, StatusKey

MOST_FOLLOWED: Final = 100_000
"""Keys that are followed at a time, in all."""

MOST_LISTED: Final = 1000
"""Follows of one caller that are listed, the newest first."""

_AT_ONCE: Final = 1000

_ONCE: Final = "ONCE"
"""Where others have the state that they are followed to."""


class Outcome(IntEnum):
    """How far a followed key is."""

    UNSEEN = 0
    """The provider was not asked for it yet."""
    SEEN = 1
    """An answer is known, and another one is to come."""
    FINAL = 2
    """The state that it was followed to is known."""
    NOT_FOUND = 3
    """The provider does not know it, for good."""


OPEN: Final = (Outcome.UNSEEN, Outcome.SEEN)


class NewFollow(NamedTuple):
    """What a caller wants followed. `token`: its `Idempotency-Key`; `digest`: what it came with.

    `once`: see `Follow`. Times are seconds since 1970.
    """

    id: str
    owner: str
    name: str | None
    token: str | None
    digest: str
    created_at: int
    until_at: int
    until_state: MessageState | None
    detail: DetailLevel
    keys: Sequence[StatusKey]
    once: bool = False


class Follow(NamedTuple):
    """A follow as it is kept. `once`: each key is over as soon as it is known anew."""

    no: int
    id: str
    owner: str
    name: str | None
    created_at: int
    until_at: int
    until_state: MessageState | None
    detail: DetailLevel
    done_at: int | None
    once: bool = False


class Progress(NamedTuple):
    """How far a follow is: how many of its keys have come how far, and are in which state."""

    follow: Follow
    outcomes: dict[Outcome, int]
    states: dict[str, int]
    ahead: int
    """Keys that nobody has asked for yet, of this follow and of earlier ones."""

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())

    def count(self, *outcomes: Outcome) -> int:
        return sum(self.outcomes.get(one, 0) for one in outcomes)


class Step(NamedTuple):
    """How far a key of a follow has come; `phone`: as its record is known."""

    follow: int
    place: int
    phone: str
    outcome: Outcome
    state: int | None


def create(connection: Connection, new: NewFollow) -> str:
    """Keep a follow; its id, or that of the one that came before with the same token.

    Raises `InvalidArgument` where that was another one, and `QuotaExceeded`.
    """
    if new.token is not None:
        query = select(FOLLOWS.c.id, FOLLOWS.c.digest).where(
            *_of(new.owner), FOLLOWS.c.token == new.token
        )
        before = connection.execute(query).first()
        if before is not None:
            if before.digest != new.digest:
                raise InvalidArgument("Idempotency-Key was sent before, with another body.")
            return str(before.id)
    open_ = connection.scalar(_open_keys()) or 0
    if open_ + len(new.keys) > MOST_FOLLOWED:
        raise QuotaExceeded(
            f"At most {MOST_FOLLOWED} keys are followed at a time; {open_} are. Come again when "
            "some of them are final."
        )
    no = take_numbers(connection, FOLLOWS.name, 1) + 1
    values = new._asdict() | {"no": no, "account": account(), "detail": new.detail.all}
    until_state = new.until_state and new.until_state.value
    values["until_state"] = _ONCE if values.pop("once") else until_state
    keys = values.pop("keys")
    connection.execute(insert(FOLLOWS).values(values))
    rows = [
        {"follow": no, "place": place, "phone": key.phone, "id": key.id, "outcome": Outcome.UNSEEN}
        for place, key in enumerate(keys)
    ]
    connection.execute(insert(FOLLOWED), rows)
    return new.id


def _open_keys() -> Any:  # noqa: ANN401 - a query
    return (
        select(func.count())
        .select_from(FOLLOWED)
        .join(FOLLOWS)
        .where(FOLLOWS.c.done_at.is_(None), FOLLOWED.c.outcome.in_(OPEN))
    )


def numbers_open(connection: Connection) -> dict[int, int]:
    """The numbers of the follows that are not done, with the time until which each goes."""
    query = select(FOLLOWS.c.no, FOLLOWS.c.until_at).where(
        FOLLOWS.c.account == ACCOUNT, FOLLOWS.c.done_at.is_(None)
    )
    return {row.no: row.until_at for row in connection.execute(query.order_by(FOLLOWS.c.no))}


def load(connection: Connection, no: int) -> tuple[Follow, list[Step], list[int]] | None:
    """A follow, its keys that are not over, and their ids; None: it is gone."""
    row = connection.execute(select(FOLLOWS).where(FOLLOWS.c.no == no)).one_or_none()
    if row is None:
        return None
    query = (
        select(FOLLOWED)
        .where(FOLLOWED.c.follow == no, FOLLOWED.c.outcome.in_(OPEN))
        .order_by(FOLLOWED.c.place)
    )
    rows = connection.execute(query).all()
    steps = [Step(no, one.place, one.phone, Outcome(one.outcome), one.state) for one in rows]
    return _follow(row), steps, [one.id for one in rows]


def write(connection: Connection, steps: Collection[Step], done: Iterable[int], now: int) -> None:
    """Keep how far these keys are, and which follows are done."""
    if steps:
        table = FOLLOWED.c
        changed = (
            update(FOLLOWED)
            .where(
                and_(table.follow == bindparam("of_follow"), table.place == bindparam("at_place"))
            )
            .values(
                phone=bindparam("new_phone"),
                outcome=bindparam("new_outcome"),
                state=bindparam("new_state"),
            )
        )
        rows = [
            {
                "of_follow": one.follow,
                "at_place": one.place,
                "new_phone": one.phone,
                "new_outcome": int(one.outcome),
                "new_state": one.state,
            }
            for one in steps
        ]
        for some in batches(rows, _AT_ONCE):
            connection.execute(changed, list(some))
    for no in done:
        is_it = and_(FOLLOWS.c.no == no, FOLLOWS.c.done_at.is_(None))
        connection.execute(update(FOLLOWS).where(is_it).values(done_at=now))


def find(connection: Connection, owner: str, id_: str) -> Follow | None:
    """A follow of this caller's."""
    query = select(FOLLOWS).where(*_of(owner), FOLLOWS.c.id == id_)
    row = connection.execute(query).one_or_none()
    return None if row is None else _follow(row)


def progress_of(connection: Connection, owner: str, id_: str | None = None) -> list[Progress]:
    """How far the follows of a caller are, or the one with this id; the newest first."""
    query = select(FOLLOWS).where(*_of(owner))
    if id_ is not None:
        query = query.where(FOLLOWS.c.id == id_)
    query = query.order_by(FOLLOWS.c.no.desc()).limit(MOST_LISTED)
    follows = [_follow(row) for row in connection.execute(query)]
    table = FOLLOWED.c
    counts: dict[int, list[Row[Any]]] = {one.no: [] for one in follows}
    for some in batches(list(counts), _AT_ONCE):
        counted = (
            select(table.follow, table.outcome, table.state, func.count().label("keys"))
            .where(table.follow.in_(some))
            .group_by(table.follow, table.outcome, table.state)
        )
        for row in connection.execute(counted):
            counts[row.follow].append(row)
    return [_progress(connection, one, counts[one.no]) for one in follows]


def _progress(connection: Connection, follow: Follow, rows: Iterable[Row[Any]]) -> Progress:
    outcomes: dict[Outcome, int] = {}
    states: dict[str, int] = {}
    for row in rows:
        outcome = Outcome(row.outcome)
        outcomes[outcome] = outcomes.get(outcome, 0) + row.keys
        if row.state is not None:
            name = STATES[row.state].state.value
            states[name] = states.get(name, 0) + row.keys
    ahead = outcomes.get(Outcome.UNSEEN, 0) if follow.done_at is None else 0
    if ahead:
        earlier = _open_keys().where(
            FOLLOWED.c.outcome == Outcome.UNSEEN,
            FOLLOWS.c.no < follow.no,
            FOLLOWS.c.account == ACCOUNT,
        )
        ahead += connection.scalar(earlier) or 0
    return Progress(follow, outcomes, states, ahead)


def remove(connection: Connection, owner: str, id_: str) -> bool:
    """End a follow, and forget it; was there one?"""
    gone = connection.execute(delete(FOLLOWS).where(*_of(owner), FOLLOWS.c.id == id_))
    return bool(gone.rowcount)


def forget_done(connection: Connection, before: int) -> None:
    """Forget follows that were done before a time."""
    connection.execute(delete(FOLLOWS).where(FOLLOWS.c.done_at < before))


def forget_phones(connection: Connection, phones: Iterable[str]) -> None:
    """Leave nothing of these numbers in any follow."""
    connection.execute(delete(FOLLOWED).where(FOLLOWED.c.phone.in_(list(phones)), _is_own()))


def forget_keys(connection: Connection, keys: Sequence[StatusKey]) -> None:
    """Leave nothing of these messages' numbers: they were deleted."""
    table = FOLLOWED.c
    for some in batches(keys, _AT_ONCE // 10):
        are_they = or_(*[and_(table.phone == key.phone, table.id == key.id) for key in some])
        connection.execute(update(FOLLOWED).where(are_they, _is_own()).values(phone=""))


def _is_own() -> ColumnElement[bool]:
    """Is a key of one of this account's follows?"""
    return FOLLOWED.c.follow.in_(select(FOLLOWS.c.no).where(FOLLOWS.c.account == ACCOUNT))


def _follow(row: Row[Any]) -> Follow:
    return Follow(
        row.no,
        row.id,
        row.owner,
        row.name,
        row.created_at,
        row.until_at,
        None if row.until_state in {None, _ONCE} else MessageState[row.until_state],
        list(DetailLevel)[row.detail],
        row.done_at,
        once=row.until_state == _ONCE,
    )


def _of(owner: str) -> tuple[ColumnElement[bool], ...]:
    return FOLLOWS.c.account == ACCOUNT, FOLLOWS.c.owner == owner
