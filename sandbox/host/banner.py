"""What the host says when it is ready: the functions with their triggers and URLs, as Core Tools do."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.host.functions import EventGridTrigger, Function, QueueTrigger, TimerTrigger
from sandbox.host.routes import RouteTable


def functions_table(functions: Iterable[Function], routes: RouteTable, port: int) -> list[str]:
    """The lines to print. Keys are not among them."""
    base = f"http://127.0.0.1:{port}"
    urls = {
        route.function.name: f"[{','.join(route.trigger.methods) or 'ALL'}] {base}/{route.template}"
        f" ({route.trigger.auth_level})"
        for route in routes.routes
    }
    lines = ["Functions:"]
    for function in functions:
        about = urls.get(function.name) or _about(function, base)
        state = " (disabled)" if function.disabled else ""
        lines.append(f"    {function.name}: {function.trigger_type} {about}{state}")
    return lines


def _about(function: Function, base: str) -> str:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        return f"queue '{trigger.queue_name}' of {trigger.connection}"
    if isinstance(trigger, TimerTrigger):
        return f"'{trigger.schedule}'"
    assert isinstance(trigger, EventGridTrigger)
    return f"{base}/runtime/webhooks/eventgrid?functionName={function.name}"
