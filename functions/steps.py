"""(2) Storage queue: one step of one record."""

from __future__ import annotations

import logging

import azure.functions as func
import msgspec

from shared import bootstrap
from shared.domain.record import Look
from shared.settings import LOST_QUEUE, QUEUE

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 200


@blueprint.function_name("steps")
@blueprint.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
def steps(message: func.QueueMessage) -> None:
    """Take the step that the message's record is due for."""
    look = msgspec.json.decode(message.get_body(), type=Look)
    bootstrap.basegate().advance.look(look, redelivered=(message.dequeue_count or 1) > 1)


@blueprint.function_name("lost-steps")
@blueprint.queue_trigger(arg_name="message", queue_name=LOST_QUEUE, connection="AzureWebJobsStorage")
def lost_steps(message: func.QueueMessage) -> None:
    """Take up a message that the host gave up on: its record fails, visibly, and can be run again."""
    body = message.get_body()
    shown = body[:_SHOWN_CHARACTERS].decode(errors="replace")
    try:
        look = msgspec.json.decode(body, type=Look)
    except msgspec.MsgspecError:
        log.warning("lost step: the message is none of Basegate's: %s", shown)
        return
    problem = "the step crashed at every delivery; its traceback is in the log"
    if not bootstrap.basegate().advance.give_up(look, problem):
        log.error("lost step: there is no record for %s", shown)
