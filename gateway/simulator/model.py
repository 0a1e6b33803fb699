"""`Report`, the status fields of one message or lookup; status names and error texts."""

from dataclasses import dataclass

HLR = 4
"""The message type of an HLR lookup."""

EMAIL = 8
"""The message type of an e-mail."""

MAX_ID = 2_147_483_647
"""The largest id of the provider's own libraries."""

STATUS_NAMES = {
    -3: "Сообщение не найдено",
    -2: "Остановлено",
    -1: "Ожидает отправки",
    0: "Передано оператору",
    1: "Доставлено",
    2: "Прочитано",
    3: "Просрочено",
    4: "Нажата ссылка",
    20: "Невозможно доставить",
    22: "Неверный номер",
    23: "Запрещено",
    24: "Недостаточно средств",
    25: "Недоступный номер",
}

ERROR_TEXTS = {
    1: "parameters error",
    2: "authorise error",
    3: "no money",
    4: "ip is blocked, http://smsc.ru/faq/99/",
    5: "delete error",
    6: "message is denied",
    7: "invalid number",
    8: "can't to deliver",
    9: "duplicate request, wait a minute",
}
"""As they were recorded; no recording of 1 and 5 is public."""

TYPES = {
    0: "SMS",
    1: "flash SMS",
    2: "binary SMS",
    3: "WAP push",
    HLR: "HLR lookup",
    5: "ping SMS",
    6: "MMS",
    7: "call",
    EMAIL: "e-mail",
    10: "Viber",
    12: "social network",
}
"""The types of messages that have a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The fields of the page's formats 2 and 3; times are Unix seconds. None leaves a field out."""

    id: int
    phone: str
    status: int
    last: int | None = None
    flag: int | None = None
    err: int | None = None
    imsi: str | None = None
    msc: str | None = None
    mcc: str | None = None
    mnc: str | None = None
    cn: str | None = None
    net: str | None = None
    rcn: str | None = None
    rnet: str | None = None
    sent: int | None = None
    cost: str | None = None
    sender: str | None = None
    status_name: str | None = None
    message: str | None = None
    comment: str | None = None
    mccmnc: str | None = None
    country: str | None = None
    operator: str | None = None
    operator_orig: str | None = None
    region: str | None = None
    type: int | None = None
    sms_cnt: int | None = None

    @property
    def is_lookup(self) -> bool:
        return self.type == HLR

    @property
    def is_missing(self) -> bool:
        return self.status == -3  # noqa: PLR2004 - the page's own number


def not_found(id: int, phone: str) -> Report:
    """What the provider tells of a pair it does not know."""
    return Report(id=id, phone=phone, status=-3)
