"""(2) Storage queues: hints are followed, records go on, and what the host gave up on is told."""

import logging
from typing import TYPE_CHECKING

import azure.functions as func

from shared import bootstrap
from shared.settings import HINT_QUEUE, POISON, WORK_QUEUE

if TYPE_CHECKING:
    from shared.domain.record import WorkItem

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 200


@blueprint.function_name("hints")
@blueprint.queue_trigger(arg_name="message", queue_name=HINT_QUEUE, connection="AzureWebJobsStorage")
def hints(message: func.QueueMessage) -> None:
    """Look where a hint says."""
    import msgspec

    from shared.domain.event import Hint

    hint = msgspec.json.decode(message.get_body(), type=Hint)
    bootstrap.basegate().hints.handle(hint, redelivered=_is_redelivered(message))


@blueprint.function_name("work")
@blueprint.queue_trigger(arg_name="message", queue_name=WORK_QUEUE, connection="AzureWebJobsStorage")
def work(message: func.QueueMessage) -> None:
    """Go on with the record of a work item."""
    bootstrap.basegate().reconciler.work(_item_of(message), redelivered=_is_redelivered(message))


@blueprint.function_name("work-poison")
@blueprint.queue_trigger(arg_name="message", queue_name=WORK_QUEUE + POISON, connection="AzureWebJobsStorage")
def work_poison(message: func.QueueMessage) -> None:
    """Take up a work item that the host gave up on: its record is stalled, visibly, and tried again later."""
    try:
        item = _item_of(message)
    except ValueError:  # what msgspec raises is one
        log.warning("poison message dropped, it is no work item: %s", _shown(message))
        return
    problem = "the step crashed at every delivery; its traceback is in the log"
    if not bootstrap.basegate().reconciler.give_up(item, problem):
        log.error("poison message dropped, there is no record for it: %s", _shown(message))


@blueprint.function_name("hints-poison")
@blueprint.queue_trigger(arg_name="message", queue_name=HINT_QUEUE + POISON, connection="AzureWebJobsStorage")
def hints_poison(message: func.QueueMessage) -> None:
    """Say that a hint was given up on: the sweep reads the tag anyway."""
    log.warning("hint dropped, it crashed at every delivery; the sweep reads the tag: %s", _shown(message))


def _item_of(message: func.QueueMessage) -> "WorkItem":
    import msgspec

    from shared.domain.record import WorkItem

    return msgspec.json.decode(message.get_body(), type=WorkItem)


def _is_redelivered(message: func.QueueMessage) -> bool:
    return (message.dequeue_count or 1) > 1


def _shown(message: func.QueueMessage) -> str:
    return message.get_body()[:_SHOWN_CHARACTERS].decode(errors="replace")
