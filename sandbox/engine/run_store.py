"""The images and containers of one task run."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.engine.background import Background
from sandbox.engine.cache import LayerCache
from sandbox.engine.command import CommandLine
from sandbox.engine.configuration import argument_options, environment_options, write_logins
from sandbox.engine.contract import EngineError, ImageBuild, Login, Output, Pushed, RunContainer
from sandbox.engine.networks import Network
from sandbox.engine.run_mounts import REFUSED, RunMounts, risky_run_flag
from sandbox.engine.seclusion import Seclusion
from sandbox.engine.snapshot import take_snapshot
from sandbox.engine.store import Store
from sandbox.engine.strays import end_strays
from sandbox.engine.triggers import Triggers
from sandbox.private import write_private

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ROUTING = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_MOUNT_MARKS = frozenset(":,")
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

CERTIFICATES = "/acb/certificates.pem"
"""Where containers that are online find the certificates to trust."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Shared by the runs of one engine: the command without a store, the layer cache, the background tasks, the
    network of builds, what is known of their mounts, and the variables that lead a client to the gateway.
    """

    podman: CommandLine
    cache: LayerCache
    background: Background
    seclusion: Seclusion
    run_mounts: RunMounts
    client: Mapping[str, str]


class PodmanRunStore:
    """Implements `RunStore` with podman, separate from the images of other runs.

    `network` is created when the first address is allocated.
    """

    def __init__(self, shared: Shared, store: Store, network: Network, logins: Mapping[str, Login]) -> None:
        store.make()
        self._shared, self._store, self._network = shared, store, network
        self._authfile = write_logins(store.runtime / "auth.json", logins)
        self._podman = store.command(shared.podman, REGISTRY_AUTH_FILE=str(self._authfile))
        self._triggers = Triggers(store.graph, shared.cache.graph)
        self._warmed: set[str] = set()
        self._digests: dict[str, str] = {}
        self._containers: set[str] = set()
        self._numbers = itertools.count()
        self._naming, self._going_online = asyncio.Lock(), asyncio.Lock()
        self._gateway: Seclusion | None = None
        self._closed = False

    async def warm(self, images: Sequence[str]) -> None:
        """See `RunStore.warm`."""
        self._warmed.update(images)
        await self._shared.cache.ensure(images, self._authfile)

    async def build(self, build: ImageBuild, out: Output) -> int:
        """See `RunStore.build`. Uses Docker's manifest format, because ACR's builds do; RUN has no network.

        The build pulls nothing: it can be based on no image but those whose triggers were looked at.
        """
        await self._pull_missing(build, out)
        if (flag := await self._risky_flag(build.dockerfile)) and not await self._shared.run_mounts.are_confined():
            await out(REFUSED.format(flag))
            return 1
        arguments, passed = argument_options(build.arguments, build.secret)
        number = next(self._numbers)
        file, own = self._store.runtime / f"dockerfile-{number}", self._store.graph / f"build-{number}"
        context, temporary = own / "context", own / "tmp"
        try:
            await asyncio.to_thread(take_snapshot, build.context, context)
            temporary.mkdir()
            write_private(file, build.dockerfile)
            podman = self._shared.seclusion.enclose(self._podman.with_variables({**passed, "TMPDIR": str(temporary)}))
            command = ["build", "--file", str(file), *arguments, *_build_options(build), "--", str(context)]
            return await podman.stream(command, out, grace=0)
        except EngineError as error:
            await out(str(error))
            return 1
        except asyncio.CancelledError:
            await asyncio.to_thread(end_strays, self._store.graph)
            raise
        finally:
            file.unlink(missing_ok=True)
            await asyncio.to_thread(shutil.rmtree, own, ignore_errors=True)

    async def _risky_flag(self, dockerfile: str) -> str:
        if flag := await asyncio.to_thread(risky_run_flag, dockerfile):
            return flag
        flag = await asyncio.to_thread(self._triggers.risky_flag, dockerfile)
        return f"{flag} in an ONBUILD instruction of a base image" if flag else ""

    async def _pull_missing(self, build: ImageBuild, out: Output) -> None:
        """Pull what the build names and the store does not have. A failure is shown: the build may not need the image.

        As podman does, an image of a platform that is asked for is pulled again, since the store may have another.
        """
        for image in build.images:
            platform = image.platform or build.platform
            again = build.pull or bool(platform)
            if again or (await self._podman.capture(["image", "exists", image.name])).exit_code:
                options = ["--platform", platform] if platform else []
                pulled = await self._podman.capture(["pull", *options, "--", image.name])
                for line in pulled.stderr.splitlines() if pulled.exit_code else ():
                    await out(line)

    async def pull(self, image: str, out: Output) -> int:
        """See `RunStore.pull`."""
        return await self._podman.stream(["pull", "--", image], out)

    async def push(self, image: str, out: Output) -> Pushed:
        """See `RunStore.push`."""
        file = self._store.runtime / f"digest-{next(self._numbers)}"
        exit_code = await self._podman.stream(["push", "--digestfile", str(file), "--", image], out)
        return Pushed(exit_code, "" if exit_code else file.read_text().strip())

    async def tag(self, source: str, target: str, out: Output) -> int:
        """See `RunStore.tag`. One at a time: podman 4.3 reads an image's names and writes all of them back."""
        async with self._naming:
            return await self._podman.stream(["tag", "--", source, target], out)

    async def run(self, container: RunContainer, out: Output) -> int:
        """See `RunStore.run`."""
        _check(container)
        self._containers.add(container.name)
        network, routing = await self._network_options(container)
        variables = self._store.runtime / f"{container.name}.env"
        environment, passed = environment_options(variables, {**routing, **container.environment})
        options = [*network, *self._run_options(container), *environment]
        command = ["run", *options, "--", container.image, *container.arguments]
        try:
            podman = self._podman.with_variables(passed)
            exit_code = await podman.stream(command, _without_id(container, out), grace=0)
        except asyncio.CancelledError:
            await self.remove(container.name)  # the client has ended, and may have left its container running
            raise
        finally:
            variables.unlink(missing_ok=True)
        if not (container.detach or container.keep):
            self._containers.discard(container.name)
        return exit_code

    async def _network_options(self, container: RunContainer) -> tuple[list[str], Mapping[str, str]]:
        """The options and the variables of a container's network. All that have no address share one of the run."""
        if container.address:
            return ["--network", self._network.name, "--ip", container.address], {}
        if not container.online:
            return ["--network", "none"], {}
        client = self._shared.client
        async with self._going_online:
            if self._gateway is None:
                gateway = Seclusion(urlsplit(client["HTTPS_PROXY"]).port or 0)
                await gateway.start()
                self._gateway = gateway
        certificates = {name: CERTIFICATES for name in client if client[name] == client["SSL_CERT_FILE"]}
        routing = {name: client[name] for name in _ROUTING if name in client} | certificates
        mount = f"{client['SSL_CERT_FILE']}:{CERTIFICATES}:ro"
        return ["--network", f"ns:{self._gateway.path}", "--volume", mount], routing

    def _run_options(self, container: RunContainer) -> list[str]:
        options = ["--http-proxy=false", "--pull=missing", "--name", container.name]
        options += [part for name, address in container.hosts.items() for part in ("--add-host", f"{name}:{address}")]
        options += [part for host, inside in container.mounts.items() for part in ("--volume", f"{host}:{inside}")]
        options += ["--detach"] if container.detach else []
        options += [] if container.keep else ["--rm"]
        named = {"--entrypoint": container.entrypoint, "--user": container.user, "--workdir": container.workdir}
        return options + [part for option, value in named.items() if value is not None for part in (option, value)]

    async def remove(self, name: str) -> None:
        """See `RunStore.remove`."""
        if name in self._containers:
            await self._podman.capture(["rm", "--force", "--ignore", "--time", "0", name])

    def allocate_address(self) -> str:
        """See `RunStore.allocate_address`."""
        return self._network.allocate()

    async def digests(self) -> dict[str, str]:
        """See `RunStore.digests`."""
        lines = await self._podman.check(["images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"])
        pairs = (line.split() for line in lines.splitlines())
        self._digests = {name: digest for name, digest in pairs if not name.startswith("<none>")}
        return dict(self._digests)

    async def close(self) -> None:
        """See `RunStore.close`."""
        if not self._closed:
            self._closed = True
            self._shared.background.start(self._discard(), f"Removing the store {self._store.graph.name}")

    async def _discard(self) -> None:
        if self._containers:
            await self._store.empty(self._shared.podman)
        await self._network.remove(self._podman)
        if self._gateway:
            await self._gateway.close()
        bases = {name: digest for name, digest in self._digests.items() if name in self._warmed}
        await self._shared.cache.refresh(bases, self._authfile)
        await self._store.discard()


def _check(container: RunContainer) -> None:
    """Refuse what podman, or the file system, would take for more than a name or a path.

    Raises:
        EngineError: the name is not one, or a path in the container has options of a mount.
    """
    if not _NAME.fullmatch(container.name):
        raise EngineError(f"{container.name!r} is no name of a container: letters, digits, _ . -")
    for path in container.mounts.values():
        if not path.startswith("/") or not _MOUNT_MARKS.isdisjoint(path):
            raise EngineError(f"{path!r} is no absolute path without : and , for a mount")


def _build_options(build: ImageBuild) -> list[str]:
    """The options of `podman build` but for arguments. Those that isolate it are the last ones, which count."""
    options: list[str] = []
    for option, values in (("--tag", build.tags), ("--label", build.labels)):
        options += [part for value in values for part in (option, value)]
    for option, value in (("--target", build.target), ("--platform", build.platform)):
        options += [option, value] if value else []
    options += ["--no-cache"] if build.no_cache else []
    return [*options, "--pull=never", "--http-proxy=false", "--format", "docker", "--network", "none"]


def _without_id(container: RunContainer, out: Output) -> Output:
    """Filter out the id, which is all that a detached container prints; errors are still passed on."""

    async def log_line(line: str) -> None:
        if not _CONTAINER_ID.fullmatch(line):
            await out(line)

    return log_line if container.detach else out
