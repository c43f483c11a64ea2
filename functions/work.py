"""(2) Storage queues: hints and work items, and the poison messages of both."""

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
    """Handle a hint: read the tag that it names."""
    import msgspec

    from shared.domain.event import Hint

    hint = msgspec.json.decode(message.get_body(), type=Hint)
    bootstrap.basegate().hints.handle(hint, redelivered=_is_redelivered(message))


@blueprint.function_name("work")
@blueprint.queue_trigger(arg_name="message", queue_name=WORK_QUEUE, connection="AzureWebJobsStorage")
def work(message: func.QueueMessage) -> None:
    """Reconcile the record of a work item."""
    bootstrap.basegate().reconciler.work(_item_of(message), redelivered=_is_redelivered(message))


@blueprint.function_name("work-poison")
@blueprint.queue_trigger(arg_name="message", queue_name=WORK_QUEUE + POISON, connection="AzureWebJobsStorage")
def work_poison(message: func.QueueMessage) -> None:
    """Handle a poison work item: its record is stalled, visibly, and retried later."""
    try:
        item = _item_of(message)
    except ValueError:  # msgspec's errors are subclasses
        log.warning("poison message dropped, it is no work item: %s", _shown(message))
        return
    problem = "the step crashed at every delivery; its traceback is in the log"
    if not bootstrap.basegate().reconciler.give_up(item, problem):
        log.error("poison message dropped, there is no record for it: %s", _shown(message))


@blueprint.function_name("hints-poison")
@blueprint.queue_trigger(arg_name="message", queue_name=HINT_QUEUE + POISON, connection="AzureWebJobsStorage")
def hints_poison(message: func.QueueMessage) -> None:
    """Log a poison hint: the sweep reads its tag anyway."""
    log.warning("hint dropped, it crashed at every delivery; the sweep reads the tag: %s", _shown(message))


def _item_of(message: func.QueueMessage) -> "WorkItem":
    import msgspec

    from shared.domain.record import WorkItem

    return msgspec.json.decode(message.get_body(), type=WorkItem)


def _is_redelivered(message: func.QueueMessage) -> bool:
    return (message.dequeue_count or 1) > 1


def _shown(message: func.QueueMessage) -> str:
    return message.get_body()[:_SHOWN_CHARACTERS].decode(errors="replace")
