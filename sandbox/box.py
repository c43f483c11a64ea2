"""One whole sandbox: every service, built once, started in the order in which they need each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sandbox.arm.directory import directory_surface
from sandbox.arm.foundation import Foundation
from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceIndex, arm_surface
from sandbox.authority import Authority
from sandbox.containers import ContainerGroups
from sandbox.control import mount_control
from sandbox.engine import Podman
from sandbox.entra import Issuer
from sandbox.eventgrid.service import EventGrid
from sandbox.gateway import Gateway
from sandbox.git import GitHub
from sandbox.host.site import Sites
from sandbox.identity import local_surface, login_surface, mount_identity
from sandbox.instance import Instance, Settings
from sandbox.keyvault import Vaults
from sandbox.registry import Push, Registries, to_event
from sandbox.storage import Storage
from sandbox.tasks import Runner
from sandbox.tasks.arm import Services, Tasks
from sandbox.upstream import node_image
from sandbox.web import Surface

log = logging.getLogger(__name__)


class Box:
    """The services of one instance and how they hang together.

    `tools` is the folder with what was downloaded (Azurite, the parts of the upstream image).
    """

    def __init__(self, instance: Instance, settings: Settings, tools: Path) -> None:
        self.instance, self.settings, self._tools = instance, settings, tools
        self.issuer = Issuer(instance.folder("secrets"))
        self.local = local_surface()
        self.index = ResourceIndex()
        self.foundation = Foundation(instance, self.index)
        self.arm = arm_surface(self.issuer, self.foundation.groups.check_path)
        self.operations = Operations(self.arm)
        self.gateway = Gateway(Authority(instance.folder("ca")), [self.local, self.arm, login_surface(self.issuer)])
        self.vaults = Vaults(instance, self.issuer, self.index)
        self.storage = Storage(instance, settings, self.issuer, tools)
        self.registries = Registries(instance, self.issuer, self.gateway, self.operations, self.index)
        self.github = GitHub(instance.folder("git"))
        self.sites = Sites(instance, self.client_environment)
        self.eventgrid = EventGrid(
            instance, settings, self.issuer, self.gateway.outside, storage=self.storage, functions=self.sites
        )
        self._stack = AsyncExitStack()

    def client_environment(self) -> Mapping[str, str]:
        """What a process needs to reach this instance; known once the gateway listens."""
        return self.instance.client_environment(self.gateway.port, self.issuer.identity_header)

    async def start(self) -> int:
        """Start everything and return the gateway's port. What was started is stopped again if a part fails."""
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything, in the opposite order; the state stays in the folder."""
        await self._stack.aclose()

    async def _start(self) -> int:
        port = await self.gateway.start(self.settings.port)
        self._stack.push_async_callback(self.gateway.stop)
        self._stack.push_async_callback(self.operations.stop)
        engine = Podman(self.instance.folder("engine"), self.instance.key, self.client_environment())
        await asyncio.gather(
            self._begin(self.storage.start, self.storage.stop),
            self._begin(engine.start, engine.close),
            self._begin(self.registries.start, self.registries.stop),
        )
        self.tasks = self._make_tasks(engine)
        groups = self.instance.folder("containers") / "groups.json"
        self.containers = ContainerGroups(groups, self.operations, self.index, engine, self.registries)
        self._mount()
        await asyncio.gather(self._begin(self.tasks.start, self.tasks.stop), self._seed_upstream())
        await self._begin(self.containers.start, self.containers.stop)
        await self._begin(self.eventgrid.start, self.eventgrid.stop)
        await self._begin(self.sites.start, self.sites.stop)
        return port

    async def _begin(self, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        await start()
        self._stack.push_async_callback(stop)

    def _make_tasks(self, engine: Podman) -> Tasks:
        services = Services(
            registries=self.registries,
            vaults=self.vaults,
            storage=self.storage,
            repositories=self.github,
            runner=Runner(engine),
            session=self.gateway.outside,
            find_identity=self.foundation.identities.find,
        )
        return Tasks(self.instance.folder("tasks"), services, time_scale=self.settings.time_scale)

    def _mount(self) -> None:
        """Put every service onto its surface and connect what one tells another."""
        self.foundation.mount(self.arm, self.operations)
        self.vaults.mount(self.arm)
        self.registries.mount(self.arm)
        self.tasks.mount(self.arm)
        self.containers.mount(self.arm)
        self.eventgrid.mount(self.arm, self.operations, self.index)
        mount_identity(self.local, self.issuer, principal_of=self.foundation.identities.principal_of)
        self.eventgrid.mount_control(self.local)
        self.sites.mount_control(self.local)
        self.sites.mount(self.arm, self.index)
        mount_control(self.local, self.github)
        for surface in self.surfaces():
            self.gateway.add(surface)
        self.registries.on_push += [self._tell_eventgrid, self.tasks.on_push]
        self.github.on_push.append(self.tasks.on_commit)
        groups = self.foundation.groups
        groups.on_delete += [
            self.vaults.delete_group,
            self.tasks.delete_group,
            self.registries.delete_group,
            self.eventgrid.delete_group,
            self.containers.delete_group,
        ]

    def surfaces(self) -> Sequence[Surface]:
        """The data planes: everything beside ARM, sign-in and the sandbox's own operations."""
        return [
            directory_surface(self.issuer, self.foundation.identities.principal_of),
            self.vaults.surface(),
            self.storage.surface(),
            self.github.surface(),
            self.sites.surface(),
            *self.registries.surfaces(),
            self.eventgrid.surface(),
        ]

    async def _tell_eventgrid(self, push: Push) -> None:
        await self.eventgrid.publish(self.registries.registry_id(push.registry), [to_event(push)])

    async def _seed_upstream(self) -> None:
        stand_in = await asyncio.to_thread(node_image, self._tools / "node15")
        digest = await self.registries.seed_hub("library/node", "15-alpine", stand_in.image)
        log.info("docker.io/library/node:15-alpine is %s: %s", digest, stand_in.description)
