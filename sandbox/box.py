"""One whole sandbox: every service, constructed once, started in the order of their dependencies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path

from sandbox.arm.directory import Directory
from sandbox.arm.foundation import Foundation
from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceIndex, arm_surface
from sandbox.authority import Authority
from sandbox.containers import ContainerGroups
from sandbox.containers.backoff import Backoff
from sandbox.control import ControlServer, Health, control_surface, mount_control
from sandbox.engine import Podman
from sandbox.entra import Issuer
from sandbox.eventgrid.service import EventGrid
from sandbox.gateway import Gateway
from sandbox.git import GitHub
from sandbox.identity import local_surface, login_surface, mount_identity
from sandbox.instance import Instance, Settings
from sandbox.keyvault import Vaults
from sandbox.registry import Push, Registries, to_event
from sandbox.rights import Rights
from sandbox.sites import SiteControl, Sites, SitesControlPlane
from sandbox.storage import Storage
from sandbox.tasks import Runner, Services, Tasks
from sandbox.upstream import node_image
from sandbox.web import Surface

log = logging.getLogger(__name__)


class Box:
    """The services of one instance and the connections between them.

    `tools` is the folder of downloads (Azurite, the parts of the upstream image). `rights` are those of the processes
    that need no root.
    """

    def __init__(self, instance: Instance, settings: Settings, tools: Path, rights: Rights | None = None) -> None:
        self.instance, self.settings, self._tools, self.rights = instance, settings, tools, rights or Rights()
        self.issuer = Issuer(instance.folder("secrets"))
        self.local, self.control = local_surface(), control_surface()
        self.index = ResourceIndex()
        self.foundation = Foundation(instance, self.index)
        self.arm = arm_surface(self.issuer, self.foundation.groups.check_path)
        self.operations = Operations(self.arm)
        self.gateway = Gateway(Authority(instance.folder("ca")), [])
        self.rights.open(instance.folder("ca"))
        self.vaults = Vaults(instance, self.issuer, self.index)
        self.storage = Storage(instance, settings, self.issuer, tools, self.rights)
        self.registries = Registries(instance, self.issuer, self.gateway, self.operations, self.index, self.rights)
        self.github = GitHub(instance.folder("git"), self.issuer.identity_header, self.rights)
        self.sites = Sites(instance, self.client_environment, self.rights)
        self.eventgrid = EventGrid(
            instance, settings, self.issuer, self.gateway.outside, storage=self.storage, functions=self.sites
        )
        self._stack = AsyncExitStack()

    def client_environment(self) -> Mapping[str, str]:
        """The environment variables of a client process; known once the gateway listens."""
        return self.instance.client_environment(self.gateway.port, self.issuer.identity_header)

    async def start(self) -> int:
        """Start everything and return the gateway's port. If a part fails, the started parts are stopped again."""
        try:
            return await self._start()
        except BaseException:  # a cancellation, too: what was started must not keep running
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in reverse order; the state folder is kept."""
        await self._stack.aclose()

    def mount(self) -> Sequence[Surface]:
        """Register every operation and return all surfaces, the last one that of the sandbox's own operations.

        Call it once; it starts nothing.
        """
        self.foundation.mount(self.arm, self.operations)
        self.vaults.mount(self.arm)
        self.registries.mount(self.arm)
        self.tasks.mount(self.arm)
        self.containers.mount(self.arm)
        self.eventgrid.mount(self.arm, self.operations, self.index)
        SitesControlPlane(self.sites).mount(self.arm, self.index)
        mount_identity(self.local, self.issuer, principal_of=self.foundation.identities.principal_of)
        mount_control(self.control, self.github, self.index, lambda: Health(self.engine.warnings, self.rights.sentence))
        self.eventgrid.mount_control(self.control)
        self.registries.mount_control(self.control)
        SiteControl(self.sites, self.foundation.groups.create).mount(self.control)
        return [login_surface(self.issuer), self.arm, *self._data_planes(), self.local, self.control]

    @cached_property
    def engine(self) -> Podman:
        """The container engine; created once the gateway listens, because builds and runs get its port."""
        return Podman(self.instance.folder("engine"), self.instance.key, self.client_environment())

    @cached_property
    def tasks(self) -> Tasks:
        """ACR Tasks."""
        services = Services(
            registries=self.registries,
            vaults=self.vaults,
            storage=self.storage,
            repositories=self.github,
            runner=Runner(self.engine, self.instance.folder("tasks", "contexts")),
            session=self.gateway.outside,
            find_identity=self.foundation.identities.get,
        )
        return Tasks(self.instance.folder("tasks"), services, time_scale=self.settings.time_scale)

    @cached_property
    def containers(self) -> ContainerGroups:
        """Container groups."""
        file = self.instance.folder("containers") / "groups.json"
        restarts = Backoff().scaled(self.settings.time_scale)
        return ContainerGroups(file, self.operations, self.index, self.engine, self.registries, restarts=restarts)

    async def _start(self) -> int:
        port = await self.gateway.start(self.settings.port)
        self._stack.push_async_callback(self.gateway.stop)
        self._stack.push_async_callback(self.operations.stop)
        await asyncio.gather(
            self._begin(self.storage.start, self.storage.stop),
            self._begin(self.engine.start, self.engine.close),
            self._begin(self.registries.start, self.registries.stop),
        )
        *served, control = self.mount()
        for surface in served:
            self.gateway.add(surface)
        self._connect()
        await asyncio.gather(self._begin(self.tasks.start, self.tasks.stop), self._seed_upstream())
        await self._begin(self.containers.start, self.containers.stop)
        await self._begin(self.eventgrid.start, self.eventgrid.stop)
        await self._begin(self.sites.start, self.sites.stop)
        server = ControlServer(control, self.instance.control_socket)
        await self._begin(server.start, server.stop)
        return port

    async def _begin(self, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        await start()
        self._stack.push_async_callback(stop)

    def _connect(self) -> None:
        """Subscribe services to the events of others."""
        self.registries.on_push += [self._tell_eventgrid, self.tasks.on_push]
        self.registries.on_replicated.append(self._tell_eventgrid)
        self.github.on_push.append(self.tasks.on_commit)
        groups = self.foundation.groups
        groups.on_delete += [
            self.vaults.delete_group,
            self.tasks.delete_group,
            self.registries.delete_group,
            self.eventgrid.delete_group,
            self.containers.delete_group,
            self.sites.delete_group,
        ]

    def _data_planes(self) -> Sequence[Surface]:
        """All surfaces but sign-in, ARM and the sandbox's own operations."""
        return [
            Directory(self.issuer, self.foundation.identities.principal_of).surface(),
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
