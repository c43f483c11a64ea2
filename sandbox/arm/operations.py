"""Long-running operations as in ARM: accepted at once, polled at a URL until they end.

Responses have `retry-after-ms`, which azure-core honours in milliseconds; without it (or with `Retry-After: 0`)
a client waits 30 s between polls.
Source: https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sandbox.instance import LOCATION
from sandbox.web import Call, Fault, Surface, json_answer

log = logging.getLogger(__name__)

_POLL_MILLISECONDS = "50"


@dataclass(slots=True)
class _Operation:
    task: asyncio.Task[Any]
    started: str


class Operations:
    """Runs the work of an accepted request and responds to its polls."""

    def __init__(self, arm: Surface) -> None:
        self._running: dict[str, _Operation] = {}
        scope = "/subscriptions/{subscription}/providers/{provider}/locations/{location}"
        arm.operation("GET", scope + "/operationResults/{operation}")(self._result)
        arm.operation("GET", scope + "/operations/{operation}")(self._status)

    def accept(
        self,
        call: Call,
        provider: str,
        work: Coroutine[Any, Any, Any],
        *,
        status: int = 202,
        body: object = None,
    ) -> web.Response:
        """Start `work` and return the response that it is in progress.

        202 has the poll URL in `Location` (polls return 202, then 200 with the result of `work`, or its
        `Fault`); 201 with a body has it in `Azure-AsyncOperation` (polls return a status document).
        """
        name = uuid.uuid4().hex
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_log_unexpected)
        self._running[name] = _Operation(task, datetime.now(UTC).isoformat())
        scope = f"{call.origin}/subscriptions/{call.params['subscription']}/providers/{provider}/locations/{LOCATION}"
        if status == 201:
            url = f"{scope}/operations/{name}?api-version={call.version}"
            return json_answer(body, 201, {"Azure-AsyncOperation": url, "retry-after-ms": _POLL_MILLISECONDS})
        url = f"{scope}/operationResults/{name}?api-version={call.version}"
        headers = {"Location": url, "retry-after-ms": _POLL_MILLISECONDS}
        return web.Response(status=202, headers=headers) if body is None else json_answer(body, 202, headers)

    async def stop(self) -> None:
        """Cancel the operations in progress."""
        for operation in self._running.values():
            operation.task.cancel()

    def _find(self, call: Call) -> _Operation:
        operation = self._running.get(call.params["operation"])
        if operation is None:
            raise Fault(404, "OperationNotFound", f"There is no operation '{call.params['operation']}'.")
        return operation

    async def _result(self, call: Call) -> web.StreamResponse:
        """Poll an operation by its Location."""
        operation = self._find(call)
        if not operation.task.done():
            headers = {"Location": f"{call.origin}{call.request.rel_url}", "retry-after-ms": _POLL_MILLISECONDS}
            return web.Response(status=202, headers=headers)
        outcome = operation.task.result()
        return web.Response(status=200) if outcome is None else json_answer(outcome)

    async def _status(self, call: Call) -> web.StreamResponse:
        """Poll an operation by its Azure-AsyncOperation."""
        operation = self._find(call)
        document: dict[str, Any] = {"id": call.request.path, "startTime": operation.started, "status": "Pending"}
        if not operation.task.done():
            return json_answer(document, headers={"retry-after-ms": _POLL_MILLISECONDS})
        try:
            operation.task.result()
            document["status"] = "Succeeded"
        except Fault as fault:
            document |= {"status": "Failed", "error": {"code": fault.code, "message": fault.message}}
        return json_answer(document)


async def nothing() -> None:
    """The work of an operation that is complete when it is accepted."""


def _log_unexpected(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, Fault):
        log.error("A long-running operation failed: %r", error, exc_info=error)
