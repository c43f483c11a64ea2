"""(1) Event Grid: an image was pushed to or deleted from a registry."""

from __future__ import annotations

import json
import logging
import typing

import azure.functions as func
import msgspec

from shared import bootstrap
from shared.settings import QUEUE
from shared.workflow.admit import Outcome

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

_ODD = frozenset((Outcome.FOREIGN, Outcome.MALFORMED, Outcome.TOO_MANY_TAGS))


@blueprint.function_name("registry-events")
@blueprint.event_grid_trigger(arg_name="event")
@blueprint.queue_output(arg_name="looks", queue_name=QUEUE, connection="AzureWebJobsStorage")
def registry_events(event: str, looks: func.Out[typing.List[str]]) -> None:  # noqa: UP006 (the worker knows no list[str])
    """Admit what the event means and queue the looks it asks for.

    The parameter is text because that is the raw event in every version of the SDK, whatever its schema. An
    event that means nothing here is acknowledged: retrying it for a day would change nothing.
    """
    admissions = bootstrap.basegate().admit.event(_payload(event))
    for admission in admissions:
        level = logging.WARNING if admission.outcome in _ODD else logging.INFO
        fields = {"basegate_outcome": admission.outcome.value}
        log.log(level, "event %s: %s", admission.outcome, admission.reason, extra=fields)
    messages = [msgspec.json.encode(look).decode() for admission in admissions for look in admission.looks]
    if messages:
        looks.set(messages)


def _payload(event: str) -> object:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None
