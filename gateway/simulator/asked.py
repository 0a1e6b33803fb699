"""Parses a request to the simulated API: login, keys, answer format, applicable fault."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request

from gateway.simulator.faults import Fault
from gateway.simulator.form import Form
from gateway.simulator.limits import Pair
from gateway.simulator.model import MAX_ID
from gateway.simulator.render import render_error
from gateway.simulator.world import is_phone, one_spelling

PARAMETERS, LOGIN = 1, 2
"""Errors that every call has."""


class Account(NamedTuple):
    """The one account there is."""

    name: str
    password: str
    apikey: str

    def login(self, form: Mapping[str, str]) -> str | None:
        """Whose request this is, None: error 2; the password may come as its lower-case md5."""
        md5 = hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()
        if form.get("apikey") == self.apikey:
            return self.name
        if form.get("login") == self.name and form.get("psw") in {self.password, md5}:
            return self.name
        return None


class Query(NamedTuple):
    """A request for statuses, read."""

    pairs: list[Pair]
    mass: bool
    delete: bool


class Asked(NamedTuple):
    """The form of the answer."""

    fmt: int
    all: int
    charset: str

    @classmethod
    def of(cls, form: Form) -> "Asked":
        return cls(
            _choice(form.fields.get("fmt"), "0123"),
            _choice(form.fields.get("all"), "012"),
            form.charset,
        )

    def changed_by(self, fault: Fault | None) -> "Asked":
        if fault is not None and fault.kind == "format":
            return self._replace(fmt=fault.value)
        if fault is not None and fault.kind == "charset":
            return self._replace(charset=fault.value)
        return self


class Arrival(NamedTuple):
    """A request that has arrived: what it asks of which call, for whom, and what goes wrong.

    `login` is None where it is refused.
    """

    request: Request
    call: str
    form: Form
    asked: Asked
    login: str | None
    fault: Fault | None

    @property
    def told(self) -> Asked:
        """The form that the answer will have."""
        return self.asked.changed_by(self.fault)

    @property
    def why(self) -> str:
        """The fault, behind the outcome."""
        return f", {self.fault.kind}" if self.fault else ""

    @property
    def refusal(self) -> int | None:
        """The error that everything has alike."""
        if not self.login:
            return PARAMETERS if self.form.unread else LOGIN
        if self.fault is not None and self.fault.kind == "error":
            return int(self.fault.value)
        return None

    def refused(self, number: int, text: str | None = None) -> tuple[bytes, str]:
        """The answer with this error, and what the log says of it."""
        body = render_error(number, fmt=self.told.fmt, charset=self.told.charset, text=text)
        unread = f" ({self.form.unread})" if self.form.unread and number == PARAMETERS else ""
        return body, f"error {number}{unread}{self.why}"


def _choice(text: str | None, digits: str) -> int:
    """A number the page knows, else its default 0."""
    return int(text) if text and len(text) == 1 and text in digits else 0


def read_query(form: Mapping[str, str]) -> Query | None:
    """Phone i belongs to id i; a comma anywhere, also at the end, makes a list.

    A list of one counts as a mass request: the page does not say, and this is the stricter way.
    None: error 1.
    """
    raw_phones, raw_ids = form.get("phone", ""), form.get("id", "")
    phones, ids = _items(raw_phones), _items(raw_ids)
    if len(ids) != len(phones):
        return None
    # More digits than these may be too many for int().
    if not all(i.isascii() and i.isdigit() and len(i) <= len(str(MAX_ID)) for i in ids):
        return None
    phones = [one_spelling(phone) for phone in phones]
    pairs = [(phone, int(id_)) for phone, id_ in zip(phones, ids, strict=True)]
    if not all(is_phone(phone) and 0 < id_ <= MAX_ID for phone, id_ in pairs):
        return None
    return Query(pairs, "," in raw_ids or "," in raw_phones, form.get("del") == "1")


def _items(text: str) -> list[str]:
    """What stands between the commas; one may follow the last item."""
    return [part.strip() for part in text.strip().removesuffix(",").split(",")]
