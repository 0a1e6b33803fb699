"""Which detail level of the provider each field of a record needs.

The levels are the provider's parameter `all` (its page, "Responses for SMS messages" and "for HLR
queries"): a field stands at the lowest level whose answer carries it.
"""

from collections.abc import Iterable
from functools import cache

from gateway.errors import InvalidArgument, shortened
from gateway.model.records import DetailLevel, HlrLookup, Record, shown_fields

_STANDARD = {"sentAt", "sender", "text", "comment", "cost", "parts", "durationSeconds"}
_FULL = {"subscriber", "porting"}
CONTENT = frozenset({"text", "comment"})
"""The fields that the archive keeps only if it is told to."""


def level_of(path: str, kind: type[Record] | None = None) -> DetailLevel:
    """The level for one dotted field path, such as `state` or `providerStatus.text`.

    `kind` is the kind asked for, None where the answer decides: only a lookup's `type` is known
    without asking for more.
    """
    field, _, rest = path.partition(".")
    if field in _FULL:
        return DetailLevel.FULL
    if field in _STANDARD or (field == "type" and kind is not HlrLookup):
        return DetailLevel.STANDARD
    if field == "providerStatus" and rest in {"", "text"}:
        return DetailLevel.STANDARD
    return DetailLevel.BASIC


def level_for(paths: Iterable[str], kind: type[Record] | None = None) -> DetailLevel:
    """The smallest level that can fill all the fields.

    Where no kind is asked for it is STANDARD at least, which always shows the kind.
    """
    levels = [level_of(path, kind) for path in paths]
    levels.append(DetailLevel.BASIC if kind else DetailLevel.STANDARD)
    return max(levels, key=lambda level: level.all)


def wants_content(paths: Iterable[str]) -> bool:
    """Is what was written to the subscriber, or the sender's note, among the fields?"""
    return not CONTENT.isdisjoint(paths)


def parse_fields(fields: Iterable[str], kinds: Iterable[type[Record]]) -> frozenset[str]:
    """Check field paths against the records' fields; `InvalidArgument` names the first unknown one.

    With more than one kind a path is known if any of them has it.
    """
    known = frozenset().union(*(field_paths(kind) for kind in kinds))
    wanted = frozenset(fields)
    if unknown := sorted(wanted - known):
        names = ", ".join(sorted(path for path in known if "." not in path))
        raise InvalidArgument(
            f"fields: {shortened(unknown[0])!r} is not a field here; there are {names}."
        )
    return wanted


@cache
def field_paths(model: type[Record]) -> frozenset[str]:
    """All field paths of a record by their outside names, `kind` included."""
    paths = {"kind"}
    for field in shown_fields(model).values():
        paths.add(field.alias)
        if field.inner is not None:
            paths |= {
                f"{field.alias}.{below.alias}" for below in shown_fields(field.inner).values()
            }
    return frozenset(paths)
