"""(1) Event Grid: an image was pushed to or deleted from a registry."""

import json
import logging
import typing

import azure.functions as func

from shared import bootstrap
from shared.settings import HINT_QUEUE

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

_SUSPICIOUS = frozenset(("unknown registry", "malformed"))


@blueprint.function_name("registry-events")
@blueprint.event_grid_trigger(arg_name="event")
@blueprint.queue_output(arg_name="hints", queue_name=HINT_QUEUE, connection="AzureWebJobsStorage")
def registry_events(event: str, hints: func.Out[typing.List[str]]) -> None:  # noqa: UP006 (the worker knows no list[str])
    """Enqueue a hint for the repository and tag of an event. Nothing else in the event is trusted.

    The parameter is text because that is the raw event in every version of the SDK, whatever its schema. An irrelevant
    event is acknowledged: retrying it for a day would change nothing.
    """
    import msgspec

    recognized = bootstrap.basegate().recognize(_payload(event))
    for one in recognized:
        level = logging.WARNING if one.outcome in _SUSPICIOUS else logging.INFO
        log.log(level, "event: %s: %s", one.outcome, one.reason, extra={"basegate_outcome": one.outcome})
    messages = [msgspec.json.encode(one.hint).decode() for one in recognized if one.hint is not None]
    if messages:
        hints.set(messages)


def _payload(event: str) -> object:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None
