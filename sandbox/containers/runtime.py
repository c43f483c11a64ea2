"""Runs one container of a group: starts it, polls it, and restarts it according to the restart policy."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sandbox.containers.backoff import Backoff
from sandbox.containers.journal import Journal, written
from sandbox.containers.shapes import Ending, RestartPolicy
from sandbox.engine.contract import ContainerHost, ContainerState, EngineError, HostedContainer

log = logging.getLogger(__name__)

_NEVER_RAN = 128  # what the kubelet reports for a container that could not be started
_KILLED = 137


@dataclass(frozen=True, slots=True)
class State:
    """A container's state in Azure's terms. `started` and `finished` are "" if they have not occurred."""

    state: Literal["Waiting", "Running", "Terminated"]
    detail: str = ""
    started: str = ""
    finished: str = ""
    exit_code: int | None = None

    def view(self) -> dict[str, Any]:
        """The state as Azure shows it."""
        shown = {
            "state": self.state,
            "startTime": self.started or None,
            "exitCode": self.exit_code,
            "finishTime": self.finished or None,
            "detailStatus": self.detail,
        }
        return {key: value for key, value in shown.items() if value is not None}


def terminated(ending: Ending) -> State:
    """Return the terminated state of an ended container."""
    detail = "Completed" if ending.exit_code == 0 else "Error"
    return State("Terminated", detail, ending.started, ending.finished, ending.exit_code)


class ContainerRuntime:
    """A container that is restarted according to its restart policy.

    `restarted` is awaited after each restart: the containers that share this one's network must rejoin it.
    """

    def __init__(
        self, host: ContainerHost, container: HostedContainer, policy: RestartPolicy, backoff: Backoff
    ) -> None:
        self._host, self._container, self._policy, self._backoff = host, container, policy, backoff
        self.journal = Journal()
        self.current = State("Waiting", "")
        self.previous: State | None = None
        self.restarts = 0
        self.ended_for_good = False
        self.restarted: Callable[[], Awaitable[None]] | None = None
        self._id = ""
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Create and start the container. A failure is recorded as an event and as an exit (exit code 128)."""
        name = self._container.name
        try:
            await self._host.remove(name)
            self._id = await self._host.start_container(self._container)
        except EngineError as error:
            self._refused(error)
            return
        self.journal.note("Created", "Created container")
        self._started()

    def watch(self) -> None:
        """Watch the container from now on, and restart it according to the policy."""
        self._watch = asyncio.get_running_loop().create_task(self._keep())

    async def refresh(self) -> None:
        """Update `current` from the engine; it is unchanged if the engine returns an error."""
        if self.current.state != "Running":
            return
        try:
            found = await self._host.inspect(self._container.name)
        except EngineError as error:
            log.warning("Cannot inspect container %s: %s", self._container.name, error)
            return
        # An inspection that began before the container's end may return after its next start.
        if self.current.state == "Running" and (found is None or found.exit_code is not None):
            self.current = terminated(_ending(found, self.current.started))

    async def logs(self, tail: int | None, *, timestamps: bool) -> str:
        """The output of the container; "" if it does not exist."""
        try:
            return await self._host.logs(self._container.name, tail, timestamps=timestamps)
        except EngineError:
            return ""  # it was never created, or is being replaced

    async def follow(self) -> None:
        """Rejoin the network of the group's first container, by a restart."""
        if self.current.state == "Running":
            await self._host.restart(self._container.name)

    async def remove(self) -> None:
        """Stop watching, and stop and remove the container."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self.current.state == "Running":
            self.journal.note("Killing", f"Killing container with id {self._id}")
        await self._host.remove(self._container.name)

    async def stop(self) -> None:
        """Kill and remove the container permanently; its final state remains visible."""
        await self.remove()
        if self.current.state == "Running":
            self.current = terminated(_ending(None, self.current.started))
        elif self.current.state == "Waiting" and self.previous:
            self.current = self.previous
        self.ended_for_good = True

    def view(self) -> dict[str, Any]:
        """The container's `instanceView`."""
        view: dict[str, Any] = {"restartCount": self.restarts, "currentState": self.current.view()}
        if self.previous:
            view["previousState"] = self.previous.view()
        return view | {"events": self.journal.view()}

    async def _keep(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            await self._end()
            failures = 1 if time.monotonic() - began > self._backoff.healthy else failures + 1
            if not self._again():
                self.ended_for_good = True
                return
            await self._back_off(self._backoff.delay(failures))
            await self._restart()

    async def _end(self) -> None:
        while self.current.state == "Running":
            await asyncio.sleep(self._backoff.poll)
            await self.refresh()

    def _again(self) -> bool:
        return self._policy == "Always" or (self._policy == "OnFailure" and self.current.exit_code != 0)

    async def _back_off(self, delay: float) -> None:
        self.previous = self.current
        if delay:
            self.journal.note("BackOff", "Back-off restarting failed container")
            self.current = State("Waiting", "CrashLoopBackOff: Back-off restarting failed container")
            await asyncio.sleep(delay)

    async def _restart(self) -> None:
        try:
            if await self._host.inspect(self._container.name) is None:
                self._id = await self._host.start_container(self._container)
            else:
                await self._host.start(self._container.name)
        except EngineError as error:
            self._refused(error)
            return
        self.restarts += 1
        self._started()
        if self.restarted:
            await self.restarted()

    def _started(self) -> None:
        self.journal.note("Started", "Started container")
        self.current = State("Running", "", written(datetime.now(UTC)))

    def _refused(self, error: EngineError) -> None:
        log.warning("Container %s does not start: %s", self._container.name, error)
        self.journal.note("Failed", f"Error: {error}")
        self.current = State("Terminated", "StartError", "", written(datetime.now(UTC)), _NEVER_RAN)


def _ending(found: ContainerState | None, started: str) -> Ending:
    if found is None or found.exit_code is None:
        return Ending(exit_code=_KILLED, started=started, finished=written(datetime.now(UTC)))
    # The engine's own start time: a container may exit before the engine's start command has returned.
    started = written(found.started) or started
    return Ending(exit_code=found.exit_code, started=started, finished=written(found.finished))
