"""Assembles Azure Container Registry and the Docker Hub stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shutil
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceIndex
from sandbox.entra import Issuer
from sandbox.gateway import Gateway
from sandbox.instance import Instance
from sandbox.registry.accounts import Accounts
from sandbox.registry.acr_v1 import MetadataApi
from sandbox.registry.arm.imports import Imports
from sandbox.registry.arm.limits import check_quota
from sandbox.registry.arm.properties import registry_body
from sandbox.registry.arm.registries import RegistryControl
from sandbox.registry.arm.replications import ReplicationControl
from sandbox.registry.arm.scope_maps import ScopeMapControl
from sandbox.registry.arm.tokens import TokenControl
from sandbox.registry.arm.usages import UsageControl
from sandbox.registry.arm.webhooks import WebhookControl
from sandbox.registry.auth import RegistryAuth
from sandbox.registry.distribution import Distribution
from sandbox.registry.front import DistributionApi
from sandbox.registry.layout import Layout
from sandbox.registry.locks import Locks
from sandbox.registry.network import may_reach
from sandbox.registry.oci import OciImage, OciIndex
from sandbox.registry.pull_limit import PullLimit
from sandbox.registry.records import PROVIDER, SUFFIX, Origin, Push, RegistryRecord, ReplicationRecord
from sandbox.registry.registry import Realm, Registry
from sandbox.registry.webhooks import Webhooks
from sandbox.rights import Rights
from sandbox.store import Collection
from sandbox.web import Fault, Surface, registry_fault

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 5
_RUNTIME_PREFIX = "basegate-registry-"
_HUB = "hub"
_HUB_HOSTS = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"))
_HUB_REALM = Realm("https://auth.docker.io/token", "registry.docker.io", listing="pull")


class Registries:
    """The registries of one instance: control plane, data plane, processes.

    `on_push` listeners are called with every manifest that is pushed or deleted, sequentially in the order of the
    pushes, soon after the client has received its response; `on_replicated` listeners once more for every replica of
    the registry, later. An exception of a listener is logged and does not affect the others. `hub_limit` is Docker
    Hub's pull rate limit. `replication_seconds` is how much later a replica has what was pushed. The processes run with
    `rights`.
    """

    replication_seconds = 2.0

    def __init__(
        self,
        instance: Instance,
        issuer: Issuer,
        gateway: Gateway,
        operations: Operations,
        index: ResourceIndex,
        rights: Rights | None = None,
    ) -> None:
        self._folder, self._logs = instance.folder("registry"), instance.logs
        self._folder.chmod(0o700)  # it contains the admin users' passwords
        self._rights = rights or Rights()
        self._rights.open_to_servers(self._folder)
        self._records = Collection(self._folder / "registries.json", RegistryRecord)
        self._accounts = Accounts(self._folder, issuer, self._records)
        self._auth = RegistryAuth(issuer, self._accounts, self.at)
        self._control = RegistryControl(self._records, self._check_quota, self._opened, self._closed)
        self._scope_maps = ScopeMapControl(self._control, self._accounts, operations)
        self._tokens = TokenControl(self._control, self._scope_maps, self._accounts, operations)
        self._imports = Imports(self._control, self._records, self._accounts, self.at, gateway.outside, operations)
        self._webhooks = Webhooks(self._folder / "webhooks.json", gateway.outside)
        self._webhook_control = WebhookControl(self._control, self._webhooks, operations)
        self._replications = Collection(self._folder / "replications.json", ReplicationRecord)
        self._replication_control = ReplicationControl(self._control, self._replications, operations)
        self._usages = UsageControl(self._control, self.at, self._accounts, self._webhooks, self._replications)
        self.hub_limit = PullLimit()
        self._running: dict[str, Registry] = {}
        self._runtime: Path | None = None
        self._pushes: asyncio.Queue[Push] = asyncio.Queue()
        self._announcer: asyncio.Task[None] | None = None
        self.on_push: list[Callable[[Push], Awaitable[None]]] = []
        self.on_replicated: list[Callable[[Push], Awaitable[None]]] = []
        index.register(f"{PROVIDER}/registries", lambda: map(registry_body, self._records.values()))

    def mount(self, arm: Surface) -> None:
        """Add the control plane to the ARM surface."""
        self._control.mount(arm)
        self._scope_maps.mount(arm)
        self._tokens.mount(arm)
        self._imports.mount(arm)
        self._webhook_control.mount(arm)
        self._replication_control.mount(arm)
        self._usages.mount(arm)

    def mount_control(self, local: Surface) -> None:
        """Add the control operations (pull rate limit, import throttling) to the sandbox's own surface."""
        self.hub_limit.mount(local)
        self._imports.mount_control(local)

    def surfaces(self) -> list[Surface]:
        """The data planes: `*.azurecr.io`, and Docker Hub's registry and token service."""
        azure = Surface("Azure Container Registry", r"[a-z0-9]+\.azurecr\.io", render=registry_fault)
        self._auth.mount(azure)
        self._auth.mount_exchange(azure)
        MetadataApi(self._auth, self.at).mount(azure)
        DistributionApi(self._auth, self.at).mount(azure)
        return [azure, *_hub_surfaces(DistributionApi(self._auth, self.at, self.hub_limit), self._auth)]

    async def start(self) -> None:
        """Start the processes of Docker Hub and of all existing registries, concurrently."""
        self._sweep_runtime()
        self._runtime = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX))
        self._rights.open_to_servers(self._runtime, writing=True)
        (self._folder / "runtime").write_text(str(self._runtime))
        self._announcer = asyncio.get_running_loop().create_task(self._notify_listeners())
        hub = self._start(_HUB, "registry-1.docker.io", _HUB_REALM, anonymous=True)
        await asyncio.gather(hub, *(self._opened(record) for record in self._records.values()))

    async def stop(self) -> None:
        """Announce the last pushes, stop all processes and remove their sockets; the content is retained."""
        if self._announcer:
            with contextlib.suppress(TimeoutError):  # a listener that hangs does not block the shutdown
                await asyncio.wait_for(self._pushes.join(), _DRAIN_SECONDS)
            self._announcer.cancel()
        await self._webhooks.stop()
        await asyncio.gather(*(registry.distribution.stop() for registry in self._running.values()))
        self._running.clear()
        self._sweep_runtime()

    def find(self, name_or_login_server: str) -> RegistryRecord | None:
        """A registry by its name or login server, or None."""
        return self._records.get(name_or_login_server.lower().removesuffix(SUFFIX))

    def registry_id(self, name: str) -> str:
        """The ARM id of a registry.

        Raises:
            Fault: 404 if it does not exist.
        """
        record = self.find(name)
        if record is None:
            raise Fault(404, "ResourceNotFound", f"There is no registry '{name}' in this sandbox.")
        return record.id

    def at(self, host: str) -> Registry:
        """The running registry behind a host name.

        Raises:
            Fault: 404 that lists the existing registries.
        """
        name = _HUB if host in _HUB_HOSTS else host.lower().removesuffix(SUFFIX)
        registry = self._running.get(name)
        if registry is None:
            known = ", ".join(record.login_server for record in self._records.values()) or "none"
            raise Fault(404, "NAME_UNKNOWN", f"There is no registry '{host}' in this sandbox. There is: {known}.")
        return registry

    def issue_login(
        self, login_server: str, *, actor: str, repositories: Mapping[str, Sequence[str]] | None
    ) -> tuple[str, str]:
        """Create a user name and password for `docker login`, valid until the sandbox stops.

        Args:
            login_server: `contoso.azurecr.io` or `docker.io`.
            actor: the actor of pushes with this login, for events.
            repositories: actions (`pull`, `push`, `delete`, `metadata_read`, `metadata_write`) by repository
                (`*` matches all); None grants everything.

        Raises:
            Fault: 404 if the registry does not exist.
        """
        return self._accounts.issue(self.at(login_server).name, actor, repositories)

    async def push_image(
        self, registry: RegistryRecord | Literal["hub"], repository: str, tag: str, image: OciImage | OciIndex
    ) -> str:
        """Push an image to a registry and return its digest; it is handled like any other push."""
        target = self.at("docker.io" if registry == "hub" else registry.login_server)
        origin = Origin("sandbox", "PUT", "basegate-sandbox")
        images = image.images if isinstance(image, OciIndex) else (image,)
        for part in images:
            for content, digest in part.blobs:
                await target.put_blob(repository, digest, content)
            if isinstance(image, OciIndex):
                manifest = part.manifest
                await target.put_manifest(repository, manifest.digest, manifest.body, manifest.media_type, origin)
        manifest = image.manifest
        answer = await target.put_manifest(repository, tag, manifest.body, manifest.media_type, origin)
        if answer.status != 201:
            raise Fault(answer.status, "UNKNOWN", answer.body.decode(errors="replace")[:300])
        return manifest.digest

    async def seed_hub(self, repository: str, tag: str, image: OciImage | OciIndex) -> str:
        """Push an image to the Docker Hub stand-in (`library/node`) and return its digest."""
        return await self.push_image("hub", repository, tag, image)

    async def delete_group(self, group: str) -> None:
        """Delete the registries of a resource group."""
        for record in list(self._records.values()):
            if record.group.lower() == group.lower():
                self._records.remove(record.name)
                await self._closed(record)

    def _check_quota(self, record: RegistryRecord) -> None:
        """Refuse a SKU that is too small for what a registry has."""
        webhooks = len(list(self._webhooks.of(record.name)))
        replications = len(list(self._replications.values(f"{record.name}/")))
        check_quota(record, webhooks=webhooks, replications=replications)

    async def _opened(self, record: RegistryRecord) -> None:
        name = record.name.lower()
        if name in self._running:
            self._apply(record)
            return
        realm = Realm(f"https://{record.login_server}/oauth2/token", record.login_server)
        await self._start(name, record.login_server, realm, anonymous=record.anonymous_pull_enabled)
        self._apply(record)

    def _apply(self, record: RegistryRecord) -> None:
        """Apply a record's settings to its running registry, if it runs."""
        registry = self._running.get(record.name.lower())
        if registry:
            registry.anonymous_pull = record.anonymous_pull_enabled
            registry.allows = partial(may_reach, record)

    async def _closed(self, record: RegistryRecord) -> None:
        registry = self._running.pop(record.name.lower(), None)
        self._accounts.forget(record.name)
        for webhook in list(self._webhooks.of(record.name)):
            self._webhooks.forget(webhook)
        for replication in self._replications.values(f"{record.name}/"):
            self._replications.remove(f"{record.name}/{replication.name}")
        if registry:
            await registry.distribution.stop()
        shutil.rmtree(self._data(record.name.lower()), ignore_errors=True)

    async def _start(self, name: str, host: str, realm: Realm, *, anonymous: bool) -> None:
        if self._runtime is None:
            return  # start() starts the registries that were created before it
        data = self._data(name)
        data.mkdir(parents=True, exist_ok=True)
        for folder in (data.parent, data):
            self._rights.open(folder)
        log_file = self._logs / f"registry-{name}.log"
        distribution = Distribution(host, data / "content", self._runtime, log_file, self._rights)
        locks = Locks(data / "locks.json")
        announce = (lambda push: None) if name == _HUB else self._pushes.put_nowait
        await distribution.start()
        self._running[name] = Registry(
            name, realm, distribution, Layout(data / "content"), locks, announce, anonymous_pull=anonymous
        )

    def _data(self, name: str) -> Path:
        return self._folder / "data" / name

    def _sweep_runtime(self) -> None:
        # A killed sandbox leaves the folder of its sockets behind; the next start removes it.
        note = self._folder / "runtime"
        if note.exists():
            left = Path(note.read_text())
            if left.name.startswith(_RUNTIME_PREFIX) and left.parent == Path(tempfile.gettempdir()):
                shutil.rmtree(left, ignore_errors=True)
            note.unlink()
        self._runtime = None

    async def _notify_listeners(self) -> None:
        while True:
            push = await self._pushes.get()
            record = self.find(push.registry)
            if record:
                self._webhooks.announce(record, push)
            for listener in self.on_replicated if push.replica else self.on_push:
                try:
                    await listener(push)
                except Exception:  # a listener's exception is logged and does not affect the others
                    log.exception("A listener failed on a push of %s:%s", push.repository, push.tag)
            if not push.replica:
                self._replicate(push)
            self._pushes.task_done()

    def _replicate(self, push: Push) -> None:
        """Announce a push or delete once more for every replica, after the time that it takes to get there."""
        loop = asyncio.get_running_loop()
        for replication in self._replications.values(f"{push.registry}/"):
            again = dataclasses.replace(push, id=str(uuid.uuid4()), replica=replication.location)
            loop.call_later(self.replication_seconds, self._arrive, again)

    def _arrive(self, push: Push) -> None:
        if self.find(push.registry):  # it may have been deleted in between
            self._pushes.put_nowait(push)


def _hub_surfaces(api: DistributionApi, auth: RegistryAuth) -> list[Surface]:
    """The surfaces of Docker Hub's registry, which allows anonymous pulls, and of its token service.

    Source: https://distribution.github.io/distribution/spec/auth/token/
    """
    registry = Surface("Docker Hub", r"(registry-1\.|index\.)?docker\.io", render=registry_fault)
    api.mount(registry)
    tokens = Surface("Docker Hub tokens", r"auth\.docker\.io", render=registry_fault)
    auth.mount(tokens, "/token")
    return [registry, tokens]
