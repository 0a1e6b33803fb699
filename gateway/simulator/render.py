"""Serialises answers in formats 0 to 3, byte for byte as the provider documents them.

Where the page is silent (it shows no list), this follows the recordings that are public: id and
phone stand last, the lists' framing is as in `[{…},⏎{…}]`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from gateway.simulator.model import ERROR_TEXTS, Report

MOSCOW = ZoneInfo("Europe/Moscow")
TEXT, CSV, XML, JSON = range(4)

_NETWORK = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")
_GEOGRAPHY = ("country", "operator", "region")
_LABELS = {"status": "Status", "last_date": "check_time", "id": "ID"}

Fields = list[tuple[str, str | int]]


def render(
    reports: Sequence[Report],
    *,
    fmt: int,
    all: int,
    many: bool,
    charset: str = "windows-1251",
    zone: tzinfo = MOSCOW,
) -> bytes:
    """The answer for some messages; `many` makes it a list. `zone` is that of printed dates."""
    if fmt == CSV:
        return _bytes("\n".join(_csv(report, all, many=many) for report in reports), charset)
    rows = [_fields(report, fmt, all, many=many, zone=zone) for report in reports]
    if fmt == TEXT:
        return _bytes("\n".join(_line(row) for row in rows), charset)
    if fmt == XML:
        body = "\n".join(_element("sms", row) for row in rows)
        body = f"<list>\n{body}\n</list>" if many else body
        return body.encode(charset, "xmlcharrefreplace")
    body = ",\n".join(_object(row) for row in rows)
    return _json_bytes(f"[{body}]" if many else body, charset)


def render_error(
    code: int,
    *,
    fmt: int,
    charset: str = "windows-1251",
    text: str | None = None,
    id: int | None = None,
) -> bytes:
    """The answer when the request is refused; a refused message may have an `id` already."""
    text = ERROR_TEXTS.get(code, "error") if text is None else text
    fields: Fields = [("error", text), ("error_code", code)]
    line = f"ERROR = {code} ({text})"
    if id is not None:
        fields.append(("id", id))
        line += f", ID - {id}"
    return _result(line, f"{id or 0},-{code}", fields, fmt, charset)


def render_sent(
    *,
    id: int | None,
    cnt: int,
    cost: str | None,
    balance: str | None,
    fmt: int,
    charset: str = "windows-1251",
) -> bytes:
    """The answer of `send.php`: without an id the price alone, which stands first then.

    Format 0 is recorded without prices only; how they are told there is a guess.
    """
    fields: Fields = []
    if id is None:
        fields = [("cost", cost or ""), ("cnt", cnt)]
    else:
        given = {"id": id, "cnt": cnt, "cost": cost, "balance": balance}
        fields = [(name, value) for name, value in given.items() if value is not None]
    labelled = {"ID": id, "COST": cost, "BALANCE": balance}
    parts = [f"OK - {cnt} SMS"]
    parts += [f"{label} - {value}" for label, value in labelled.items() if value is not None]
    values = ",".join(str(value) for _, value in fields)
    return _result(", ".join(parts), values, fields, fmt, charset)


def render_balance(
    balance: str, currency: str | None, *, fmt: int, charset: str = "windows-1251"
) -> bytes:
    """The answer of `balance.php`: the bare number in formats 0 and 1."""
    fields: Fields = [("balance", balance)]
    if currency is not None:
        fields.append(("currency", currency))
    return _result(balance, balance, fields, fmt, charset)


def _result(line: str, values: str, fields: Fields, fmt: int, charset: str) -> bytes:
    """One result in the format asked for, of those that it was spelled in."""
    if fmt == TEXT:
        return _bytes(line, charset)
    if fmt == CSV:
        return _bytes(values, charset)
    if fmt == XML:
        return _element("result", fields).encode(charset, "xmlcharrefreplace")
    return _json_bytes(_object(fields), charset)


def _fields(report: Report, fmt: int, all: int, *, many: bool, zone: tzinfo) -> Fields:
    """The fields of formats 0, 2 and 3 in the page's order, without those that are None."""
    if report.is_missing:
        names = ["status"]
    else:
        names = _text_names(report, all) if fmt == TEXT else _names(report, all)
    values: dict[str, str | int | None] = {
        "last_date": date(report.last, zone),
        "last_timestamp": report.last,
        "send_date": date(report.sent, zone),
        "send_timestamp": report.sent,
        "sender_id": report.sender,
    }
    fields: Fields = []
    for name in names:
        value = values[name] if name in values else getattr(report, name)
        if value is not None:
            fields.append((name, value))
    if many:
        fields.append(("id", report.id))
        if all == 0 or report.is_missing:
            fields.append(("phone", report.phone))
    return fields


def _names(report: Report, all: int) -> list[str]:
    """Formats 2 and 3: geography behind the texts."""
    lookup = report.is_lookup
    names = ["status", "last_date", "last_timestamp", "flag", "err", *(_NETWORK if lookup else ())]
    if all:
        names += ["send_date", "send_timestamp", "phone", "cost", "sender_id", "status_name"]
        names += ["message"] if lookup else ["message", "comment"]
        names += _geography(report, all)
        names += ["type"] if lookup else ["type", "sms_cnt"]
    return names


def _text_names(report: Report, all: int) -> list[str]:
    """Format 0: geography before the cost; no timestamps, flag and count."""
    lookup = report.is_lookup
    names = ["status", "last_date", "err", *(_NETWORK if lookup else ())]
    if all:
        names += ["send_date", "phone", *_geography(report, all), "cost", "sender_id"]
        names += ["status_name", "message"] if lookup else ["status_name", "message", "comment"]
        names += ["type"]
    return names


def _geography(report: Report, all: int) -> tuple[str, ...]:
    if all == 1:
        return ()
    if report.is_lookup:
        return _GEOGRAPHY
    return ("mccmnc", "country", "operator", "operator_orig", "region")


def _csv(report: Report, all: int, *, many: bool) -> str:
    """Format 1: every field has its place; -3 has the shape of a message, also for a lookup.

    The page prints a blank before a lookup's time of sending, and before a message's comment and
    type; nowhere else.
    """
    values: list[object] = [report.status, report.last, report.err]
    if report.is_missing:
        values = [report.status, 0, 0]
    else:
        if report.is_lookup:
            values += [getattr(report, name) for name in _NETWORK]
        if all:
            values += [_spaced(report.sent) if report.is_lookup else report.sent, report.phone]
            values += [getattr(report, name) for name in _GEOGRAPHY] if all > 1 else []
            values += [report.cost, report.sender, report.status_name, report.message]
            tail = [report.comment, report.type]
            values += [report.type] if report.is_lookup else [_spaced(value) for value in tail]
    if many:
        values.append(report.id)
        if all == 0 or report.is_missing:
            values.append(report.phone)
    return ",".join("" if value is None else str(value) for value in values)


def _spaced(value: object) -> str:
    return " " if value is None else f" {value}"


def _line(fields: Fields) -> str:
    return ", ".join(
        # The page prints this one label without a blank before "=".
        f"{name}= {value}" if name == "operator_orig" else f"{_LABELS.get(name, name)} = {value}"
        for name, value in fields
    )


def _element(name: str, fields: Fields) -> str:
    inner = "\n".join(f"<{field}>{_escaped(str(value))}</{field}>" for field, value in fields)
    return f"<{name}>\n{inner}\n</{name}>"


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def _object(fields: Fields) -> str:
    inner = ",\n".join(
        f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in fields
    )
    return f"{{\n{inner}\n}}"


def date(moment: int | None, zone: tzinfo) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).strftime("%d.%m.%Y %H:%M:%S")


def _bytes(text: str, charset: str) -> bytes:
    return text.encode(charset, "replace")


def _json_bytes(text: str, charset: str) -> bytes:
    """A character the charset lacks becomes an escape; it can only be inside of a string."""
    encoded = []
    for character in text:
        try:
            encoded.append(character.encode(charset))
        except UnicodeEncodeError:
            encoded.append(json.dumps(character)[1:-1].encode("ascii"))
    return b"".join(encoded)
