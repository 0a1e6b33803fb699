"""Deletes a message, and logs who did it."""

import logging

from gateway.callers.model import Caller, Scope, require
from gateway.errors import GatewayError
from gateway.model.records import StatusKey
from gateway.observability.logs import masked, masked_caller
from gateway.service import StatusService

log = logging.getLogger(__name__)


async def delete(service: StatusService, key: StatusKey, caller: Caller, who: str) -> None:
    """Have a message deleted; every attempt is logged: who, which message, how it ended.

    `who` names the caller, or the address where it has no name.
    """
    require(caller, Scope.MESSAGE_DELETE)
    outcome = "UNKNOWN"  # the caller left
    try:
        await service.delete(key)
        outcome = "DELETED"
    except GatewayError as error:
        outcome = error.code
        raise
    finally:
        told = (key.id, masked(key.phone), masked_caller(who), outcome)
        log.info("delete message %d to %s for %s: %s", *told)
