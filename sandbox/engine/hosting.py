"""Long-running containers, for container groups."""

from __future__ import annotations

import itertools
import json
from collections import deque
from datetime import datetime
from typing import Any

import msgspec

from sandbox.engine.command import CommandLine, uninterrupted
from sandbox.engine.configuration import environment_options, registry_of, write_logins
from sandbox.engine.contract import ContainerState, EngineError, HostedContainer, Login
from sandbox.engine.networks import Network
from sandbox.engine.store import Store

_MOST_LINES = 20_000
_NEVER = 1  # the year podman reports for a time that is not set


class PodmanHost:
    """A `ContainerHost` on podman: one store, one network with an address for every container."""

    def __init__(self, podman: CommandLine, store: Store, network: Network) -> None:
        store.make()
        self._bare, self._store, self._network = podman, store, network
        self._podman = store.command(podman)
        self._numbers = itertools.count()

    def allocate_address(self) -> str:
        """See `ContainerHost.allocate_address`."""
        return self._network.allocate()

    def release_address(self, address: str) -> None:
        """See `ContainerHost.release_address`."""
        self._network.release_address(address)

    async def pull(self, image: str, login: Login | None = None) -> str:
        """See `ContainerHost.pull`."""
        logins = {registry_of(image): login} if login else {}
        authfile = write_logins(self._store.runtime / f"auth-{next(self._numbers)}.json", logins)
        try:
            output = await self._podman.check(["pull", "--quiet", "--authfile", str(authfile), "--", image])
        finally:
            authfile.unlink(missing_ok=True)
        return output.split()[-1]

    async def start_container(self, container: HostedContainer) -> str:
        """See `ContainerHost.start_container`."""
        variables = self._store.runtime / f"{container.name}.env"
        environment, passed = environment_options(variables, container.environment)
        arguments = ("run", "--detach", *self._options(container), *environment, "--", container.image)
        try:
            output = await uninterrupted(self._podman.with_variables(passed).check(arguments))
        finally:
            variables.unlink(missing_ok=True)
        return output.split()[-1]

    def _options(self, container: HostedContainer) -> list[str]:
        options = ["--http-proxy=false", "--pull=never", "--name", container.name, "--restart", container.restart]
        if container.beside:
            options += ["--network", f"container:{container.beside}"]
        elif container.address:
            options += ["--network", self._network.name, "--ip", container.address]
        else:
            options += ["--network", "none"]
        options += ["--entrypoint", json.dumps(container.command)] if container.command else []
        options += ["--memory", f"{int(container.memory_gb * 1024)}m"] if container.memory_gb else []
        return options + (["--cpus", f"{container.cpu:g}"] if container.cpu else [])

    async def inspect(self, name: str) -> ContainerState | None:
        """See `ContainerHost.inspect`."""
        result = await self._podman.capture(["container", "inspect", name])
        if result.exit_code:
            if "no such container" in result.stderr:
                return None
            raise EngineError(result.stderr.strip())
        return _state(msgspec.json.decode(result.stdout)[0])

    async def logs(self, name: str, tail: int | None = None, *, timestamps: bool = False) -> str:
        """See `ContainerHost.logs`."""
        lines: deque[str] = deque(maxlen=_MOST_LINES)

        async def keep(line: str) -> None:
            lines.append(line + "\n")

        options = [] if tail is None else ["--tail", str(tail)]
        options += ["--timestamps"] if timestamps else []
        if await self._podman.stream(["logs", *options, name], keep):
            raise EngineError(lines[-1].strip().removeprefix("Error: ") if lines else f"no logs of {name}")
        return "".join(lines)

    async def restart(self, name: str) -> None:
        """See `ContainerHost.restart`."""
        await self._change("restart", "--time", "0", name)

    async def stop(self, name: str) -> None:
        """See `ContainerHost.stop`. Immediately: many servers ignore SIGTERM when they are process 1."""
        await self._change("stop", "--time", "0", name)

    async def start(self, name: str) -> None:
        """See `ContainerHost.start`."""
        await self._change("start", name)

    async def remove(self, name: str) -> None:
        """See `ContainerHost.remove`."""
        await self._change("rm", "--force", "--ignore", "--time", "0", name)

    async def _change(self, *arguments: str) -> str:
        return await uninterrupted(self._podman.check(arguments))

    async def close(self) -> None:
        """Remove every container and the network; images stay for the next start."""
        await self._store.empty(self._bare)
        await self._network.remove(self._podman)


def _state(found: dict[str, Any]) -> ContainerState:
    state = found["State"]
    networks = (found["NetworkSettings"].get("Networks") or {}).values()
    address = next((network["IPAddress"] for network in networks if network.get("IPAddress")), None)
    return ContainerState(
        id=found["Id"],
        image_id=found["Image"],
        status=state["Status"],
        exit_code=None if state["Running"] else state["ExitCode"],
        started=_time(state["StartedAt"]),
        finished=None if state["Running"] else _time(state["FinishedAt"]),
        restarts=found.get("RestartCount", 0),
        address=address,
    )


def _time(text: str) -> datetime | None:
    moment = datetime.fromisoformat(text)
    return None if moment.year == _NEVER else moment
