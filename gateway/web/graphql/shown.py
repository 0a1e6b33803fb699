"""What a caller may see of an answer: its record as a GraphQL value, and its history."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from gateway.callers.model import Caller, hidden_error, hidden_fields
from gateway.errors import GatewayError
from gateway.model.described import Model, as_model, model_of
from gateway.model.freshness import Answer
from gateway.upstream.cost import current_cost
from gateway.web.graphql.engine import Context
from gateway.web.graphql.errors import field_error
from gateway.web.rest.fields import HISTORY
from gateway.web.rest.history import archive_for, histories_of

if TYPE_CHECKING:
    from collections.abc import Iterator

History = list[Model] | Exception | None
"""The changes of a record's state; None: not selected. An exception is the error of that field."""


async def histories(
    context: Context, paths: Iterable[str], answers: Sequence[Answer | GatewayError]
) -> list[History]:
    """The history of each answer with a record, if it is selected; of others None."""
    found = [one for one in answers if isinstance(one, Answer)]
    if not found or not any(path.partition(".")[0] == HISTORY for path in paths):
        return [None] * len(answers)
    told: Iterator[History]
    try:
        archive = archive_for(context.caller, context.archive)
        changes = await histories_of(archive, [one.record for one in found])
        told = iter([[model_of(change) for change in those] for those in changes])
    except GatewayError as error:
        told = repeat(field_error(error))
    return [next(told) if isinstance(one, Answer) else None for one in answers]


def shown(answer: Answer, caller: Caller, history: History = None) -> Model:
    """What the caller may see. An exception for a value is the error of that field."""
    if (cost := current_cost()) is not None:
        cost.serve(answer)
    record = as_model(answer.record, answer.freshness)
    hidden = hidden_fields(caller) & set(type(record).model_fields)
    errors = {name: field_error(hidden_error(name)) for name in hidden}
    return record.model_copy(update={**errors, HISTORY: history})
