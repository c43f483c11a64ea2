"""A container engine's hosting side in memory, for tests of container groups."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sandbox.engine.contract import ContainerState, EngineError, HostedContainer, Login
from sandbox.web import Fault


class FakeHost:
    """Containers that run until a test ends them. `calls` has what was done, in order.

    An error is what the engine refuses with, a gate what it waits for, as long as they are set.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.logins: list[Login | None] = []
        self.containers: dict[str, HostedContainer] = {}
        self.states: dict[str, ContainerState] = {}
        self.images: dict[str, str] = {"contoso.azurecr.io/hello-world:ca1": "id-ca1"}
        self.pull_error: str | None = None
        self.start_error: str | None = None
        self.remove_error: str | None = None
        self.address_error: str | None = None
        self.gate: asyncio.Event | None = None
        self.pull_gate: asyncio.Event | None = None
        self.remove_gate: asyncio.Event | None = None
        self._addresses = itertools.count(2)
        self.released: list[str] = []

    @property
    def host(self) -> FakeHost:
        return self

    def allocate_address(self) -> str:
        if self.address_error:
            raise EngineError(self.address_error)
        return f"10.89.7.{next(self._addresses)}"

    def release_address(self, address: str) -> None:
        assert address not in {c.address for c in self.containers.values()}, "a running container has this address"
        self.released.append(address)

    async def pull(self, image: str, login: Login | None = None) -> str:
        self.calls.append(f"pull {image}")
        self.logins.append(login)
        if self.pull_gate:
            await self.pull_gate.wait()
        if self.pull_error or image not in self.images:
            raise EngineError(self.pull_error or "manifest unknown")
        return self.images[image]

    async def start_container(self, container: HostedContainer) -> str:
        self.calls.append(f"run {container.image}")
        if self.gate:
            await self.gate.wait()
        if self.start_error:
            raise EngineError(self.start_error)
        self.containers[container.name] = container
        self.states[container.name] = self._running(container.image, container.address)
        return container.name

    async def inspect(self, name: str) -> ContainerState | None:
        return self.states.get(name)

    async def logs(self, name: str, tail: int | None = None, *, timestamps: bool = False) -> str:
        lines = [f"{'2026-01-01T00:00:00Z ' if timestamps else ''}line {number}\n" for number in (1, 2, 3)]
        return "".join(lines if tail is None else lines[-tail:])

    async def restart(self, name: str) -> None:
        self.calls.append(f"restart {name}")

    async def stop(self, name: str) -> None:
        self.calls.append(f"stop {name}")

    async def start(self, name: str) -> None:
        self.calls.append("start")
        self.states[name] = self._running(self.containers[name].image, self.containers[name].address)

    async def remove(self, name: str) -> None:
        if self.remove_error:
            raise EngineError(self.remove_error)
        if self.remove_gate:
            self.calls.append("removing")
            await self.remove_gate.wait()
        if self.containers.pop(name, None):
            self.calls.append("remove")
        self.states.pop(name, None)

    def end(self, exit_code: int) -> None:
        """End every container."""
        for name, state in self.states.items():
            self.states[name] = replace(state, status="exited", exit_code=exit_code, finished=datetime.now(UTC))

    @staticmethod
    def _running(image: str, address: str | None) -> ContainerState:
        return ContainerState("id", image, "running", None, datetime.now(UTC), None, 0, address)


class FakeRegistries:
    """Issues logins for one registry and remembers for what."""

    def __init__(self) -> None:
        self.issued: list[tuple[str, str, Mapping[str, Sequence[str]] | None]] = []

    def issue_login(
        self, login_server: str, *, actor: str, repositories: Mapping[str, Sequence[str]] | None
    ) -> tuple[str, str]:
        if login_server != "contoso.azurecr.io":
            raise Fault(404, "NAME_UNKNOWN", f"There is no registry '{login_server}' in this sandbox.")
        self.issued.append((login_server, actor, repositories))
        return "login-1", "issued"
