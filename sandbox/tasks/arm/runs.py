"""The operations that start runs, and those on `Microsoft.ContainerRegistry/registries/runs`.

Source: https://learn.microsoft.com/rest/api/container-registry/runs and .../registries/schedule-run
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from aiohttp import web

from sandbox.arm.query import only
from sandbox.tasks.arm.run_filter import run_filter
from sandbox.tasks.arm.scope import REGISTRY, VERSIONS, refuse_pool, registry_of
from sandbox.tasks.arm.tasks import TaskResources
from sandbox.tasks.ports import Registries, Registry
from sandbox.tasks.records import Cause, RunRecord
from sandbox.tasks.requests import RunPatch, RunRequest, TaskRunRequest
from sandbox.tasks.runs.blobs import Blobs
from sandbox.tasks.runs.logs import log_name
from sandbox.tasks.runs.order import Order, order_quick, order_task
from sandbox.tasks.runs.queue import Runs
from sandbox.tasks.runs.register import RunRegister
from sandbox.web import Call, Fault, Surface, json_answer

_PAGE = 100
_TASK_ID = re.compile(r"(?P<registry>/subscriptions/.+/registries/[^/]+)/tasks/(?P<task>[^/]+)", re.IGNORECASE)


class RunResources:
    """Runs as ARM resources."""

    def __init__(
        self, runs: Runs, register: RunRegister, tasks: TaskResources, registries: Registries, blobs: Blobs
    ) -> None:
        self._runs, self._register, self._tasks = runs, register, tasks
        self._registries, self._blobs = registries, blobs

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        run = REGISTRY + "/runs/{run}"
        arm.operation("POST", REGISTRY + "/scheduleRun", versions=VERSIONS)(self._schedule)
        arm.operation("POST", REGISTRY + "/listBuildSourceUploadUrl", versions=VERSIONS)(self._upload_url)
        arm.operation("GET", REGISTRY + "/runs", versions=VERSIONS)(self._list)
        arm.operation("GET", run, versions=VERSIONS)(self._get)
        arm.operation("PATCH", run, versions=VERSIONS)(self._patch)
        arm.operation("POST", run + "/cancel", versions=VERSIONS)(self._cancel)
        arm.operation("POST", run + "/listLogSasUrl", versions=VERSIONS)(self._log_url)

    async def _schedule(self, call: Call) -> web.StreamResponse:
        """Queue a run: of a task, of a task file, or of a Docker build."""
        only(call)
        registry = registry_of(call, self._registries)
        request: RunRequest = await call.body(RunRequest)  # type: ignore[arg-type]  # a union is not a type[T]
        refuse_pool(request.agent_pool_name)
        order = (
            self._task_order(registry, request)
            if isinstance(request, TaskRunRequest)
            else order_quick(registry, request)
        )
        if order.platform.os != "linux":
            raise Fault(400, "PlatformNotSupported", f"The sandbox runs Linux only, not '{order.platform.os}'.")
        return json_answer(self._runs.schedule(order).answer())

    async def _upload_url(self, call: Call) -> web.StreamResponse:
        """The URL and path for uploading the source code of a quick run."""
        only(call)
        registry = registry_of(call, self._registries)
        await self._blobs.prepare(registry.name)
        path, url = self._blobs.upload(registry.name)
        return json_answer({"uploadUrl": url, "relativePath": path})

    async def _list(self, call: Call) -> web.StreamResponse:
        """The runs of a registry, newest first."""
        only(call, "$filter", "$top", "$skiptoken")
        registry = registry_of(call, self._registries)
        test = run_filter(call.query.get("$filter", ""))
        before, top = _number(call, "$skiptoken"), _number(call, "$top")
        found = [
            run
            for run in self._register.newest_first(registry.name)
            if (before is None or run.number < before) and test(run)
        ]
        size = min(_PAGE, top or _PAGE)
        page, rest = found[:size], (top - size if top else None)
        answer: dict[str, object] = {"value": [run.answer() for run in page]}
        if len(found) > size and rest != 0:
            answer["nextLink"] = _next_link(call, page[-1].number, rest)
        return json_answer(answer)

    async def _get(self, call: Call) -> web.StreamResponse:
        """One run."""
        only(call)
        return json_answer(self._run(call).answer())

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Set whether a run's log is kept permanently."""
        only(call)
        run, patch = self._run(call), await call.body(RunPatch)
        if patch.is_archive_enabled is not None:
            run = self._register.change(run.key, archived=patch.is_archive_enabled)
        return json_answer(run.answer())

    async def _cancel(self, call: Call) -> web.StreamResponse:
        """Cancel a run that has not ended."""
        only(call)
        await self._runs.cancel(registry_of(call, self._registries).name, call.params["run"])
        return web.Response(status=200)

    async def _log_url(self, call: Call) -> web.StreamResponse:
        """A URL for reading a run's log."""
        only(call)
        run = self._run(call)
        return json_answer({"logLink": self._blobs.link(run.registry, log_name(run))})

    def _run(self, call: Call) -> RunRecord:
        return self._register.get(registry_of(call, self._registries).name, call.params["run"])

    def _task_order(self, registry: Registry, request: TaskRunRequest) -> Order:
        match = _TASK_ID.fullmatch(request.task_id)
        if match is None or match["registry"].lower() != registry.id.lower():
            raise Fault(400, "InvalidTaskId", f"'{request.task_id}' is not the id of a task of '{registry.name}'.")
        task = self._tasks.find(registry, match["task"])
        return order_task(registry, task, Cause(), request.override_task_step_properties)


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name, "")
    if not text:
        return None
    if not text.isdigit() or text == "0":
        raise Fault(
            400, "InvalidQueryParameter", f"The query parameter '{name}' must be a positive number, not '{text}'."
        )
    return int(text)


def _next_link(call: Call, last: int, rest: int | None) -> str:
    query = dict(call.query) | {"$skiptoken": str(last)}
    if rest is not None:
        query["$top"] = str(rest)
    return f"{call.origin}{call.request.rel_url.raw_path}?{urlencode(query, safe='$')}"
