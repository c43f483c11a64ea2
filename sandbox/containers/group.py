"""A deployed container group: its containers, their shared address, and their combined state."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Literal

from sandbox.containers.backoff import Backoff
from sandbox.containers.images import HostingEngine, Images
from sandbox.containers.journal import Journal
from sandbox.containers.runtime import ContainerRuntime, terminated
from sandbox.containers.shapes import Container, GroupRecord
from sandbox.containers.transition import Transition
from sandbox.engine.contract import HostedContainer
from sandbox.web import Fault

GroupState = Literal["Pending", "Running", "Stopped", "Succeeded", "Failed"]


class GroupRuntime:
    """The runtime of a group on the engine. The group keeps its address until `close`.

    The first container owns the network, the others share it, so that all reach each other on localhost.
    """

    def __init__(self, key: str, engine: HostingEngine, restarts: Backoff) -> None:
        self._key, self._engine, self._restarts = key, engine, restarts
        self.address: str | None = None
        self.provisioning = "Pending"
        self.transition = Transition()
        self.containers: dict[str, ContainerRuntime] = {}

    async def deploy(self, record: GroupRecord, journals: Mapping[str, Journal]) -> None:
        """Replace the running containers. `journals` has each container's events so far, such as the image pull.

        Raises:
            Fault: 400 ContainerGroupDeploymentFailed if a container does not start; the group retries.
        """
        self.provisioning = "Creating"
        for name, container in self.containers.items():
            # The end of the old container is recorded in the journal of the new one.
            container.journal = journals.get(name, container.journal)
        await self.halt()
        self.address = self.address or self._engine.host.allocate_address()
        self.containers = self._make(record)
        for name, container in self.containers.items():
            container.journal = journals.get(name, container.journal)
            await container.start()
            container.watch()
        refused = [name for name, container in self.containers.items() if container.current.detail == "StartError"]
        self.provisioning = "Failed" if refused else "Succeeded"
        if refused:
            names = ", ".join(refused)
            message = f"Containers of container group '{record.name}' do not start: {names}. Their events say why."
            raise Fault(400, "ContainerGroupDeploymentFailed", message)

    async def resume(self, record: GroupRecord, images: Images) -> None:
        """Restore a group that ran before the sandbox stopped, with the same images if they are still present.

        Raises:
            Fault: like `deploy` and `Images.pull`.
        """
        try:
            await self.deploy(record, {})
        except Fault:
            for container in record.properties.containers:
                credentials = record.properties.image_registry_credentials
                journal = self.containers[container.name].journal
                pulled = await images.pull(container.properties.image, credentials, record.name, journal)
                record.images[container.name] = pulled
            await self.deploy(record, {})

    def rest(self, record: GroupRecord) -> None:
        """Show containers that have ended permanently, without running them again."""
        self.provisioning = "Succeeded"
        self.containers = self._make(record)
        for name, ending in record.endings.items():
            self.containers[name].current = terminated(ending)
            self.containers[name].ended_for_good = True

    async def halt(self) -> None:
        """Stop and remove the containers, those that share another container's network first."""
        for container in reversed(list(self.containers.values())):
            await container.remove()
        self.containers = {}

    async def stop(self) -> None:
        """Kill and remove the containers; their final states remain visible."""
        for container in reversed(list(self.containers.values())):
            await container.stop()

    async def close(self) -> None:
        """Remove everything, including the address."""
        await self.halt()
        if self.address:
            self._engine.host.release_address(self.address)
            self.address = None

    async def refresh(self) -> None:
        """Update the state of every container."""
        await asyncio.gather(*(container.refresh() for container in self.containers.values()))

    @property
    def ended(self) -> bool:
        """Whether all containers have ended and the restart policy starts none of them again."""
        return bool(self.containers) and all(c.ended_for_good for c in self.containers.values())

    def state(self, record: GroupRecord) -> GroupState:
        """The group's `instanceView.state`."""
        if record.stopped:
            return "Stopped"
        states = [container.current for container in self.containers.values()]
        if self.ended:
            return "Succeeded" if all(state.exit_code == 0 for state in states) else "Failed"
        waiting = not states or all(state.state == "Waiting" and not state.detail for state in states)
        return "Pending" if waiting else "Running"

    def _make(self, record: GroupRecord) -> dict[str, ContainerRuntime]:
        first, *others = record.properties.containers
        leader = self._name(record, first)
        policy = record.properties.restart_policy
        runtimes = {first.name: self._runtime(record, first, None)}
        for container in others:
            runtimes[container.name] = self._runtime(record, container, leader)
        followers = [runtimes[container.name] for container in others]

        async def follow() -> None:
            for follower in followers:
                await follower.follow()

        runtimes[first.name].restarted = follow if policy != "Never" else None
        return runtimes

    def _runtime(self, record: GroupRecord, container: Container, beside: str | None) -> ContainerRuntime:
        properties = container.properties
        requests, limits = properties.resources.requests, properties.resources.limits
        hosted = HostedContainer(
            name=self._name(record, container),
            image=record.images[container.name],
            command=properties.command,
            environment={v.name: v.secure_value or v.value or "" for v in properties.environment_variables},
            address=None if beside else self.address,
            beside=beside,
            memory_gb=(limits and limits.memory_gb) or requests.memory_gb,
            cpu=(limits and limits.cpu) or requests.cpu,
        )
        return ContainerRuntime(self._engine.host, hosted, record.properties.restart_policy, self._restarts)

    def _name(self, record: GroupRecord, container: Container) -> str:
        # Groups in different resource groups may have the same name; the engine has a single namespace.
        return f"{record.name}.{container.name}.{hashlib.sha256(self._key.encode()).hexdigest()[:8]}"
