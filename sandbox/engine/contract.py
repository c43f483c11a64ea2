"""What the sandbox asks of a container engine, whatever its name.

`Podman` fulfils it. A Docker engine could stand beside it: it needs a daemon of its own that was started with
the instance's environment, because a daemon, not its client, is what talks to the registries.

Every call of a run that starts a process ends that process, and the container behind it, when its task is cancelled.
What changes a hosted container is done whole, and the cancellation comes after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

Output = Callable[[str], Awaitable[None]]
"""Receives one line of output, without its line end, as it appears."""

INFRASTRUCTURE_EXIT_CODES = frozenset({125, 126, 127})
"""Exit codes of `run` that mean "the container never ran"; every other code is the container's own."""


class EngineError(Exception):
    """The container engine is missing, unfit or refused; the text names what to do or what it said."""


@dataclass(frozen=True, slots=True)
class Login:
    """What `docker login` to one registry takes."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunContainer:
    """One container of a task run.

    `environment` values never appear in a process list. `mounts` maps a host folder to an absolute path in the
    container. With `address` the container joins the run's own network under that IPv4 address; without, it
    has no network at all. `hosts` maps names to addresses, for /etc/hosts. A `detach`ed container is left running
    and a `keep`t one stays when it ended, both until the store is closed.
    """

    name: str
    image: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    entrypoint: str | None = None
    user: str | None = None
    workdir: str | None = None
    mounts: Mapping[Path, str] = field(default_factory=dict)
    address: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    detach: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push: the client's exit code, and the manifest's digest where that is 0."""

    exit_code: int
    digest: str = ""


class RunStore(Protocol):
    """The images and containers of one task run; no other run sees them. The calls return exit codes."""

    async def warm(self, images: Sequence[str]) -> None:
        """Keep the layers of base images, so that later runs fetch only manifests. Never fails."""

    async def build(self, arguments: Sequence[str], folder: Path, out: Output) -> int:
        """`docker build` with these arguments, started in `folder`."""

    async def pull(self, image: str, out: Output) -> int:
        """Fetch an image by its real name."""

    async def push(self, image: str, out: Output) -> Pushed:
        """Push an image to the registry that its name names."""

    async def tag(self, source: str, target: str, out: Output) -> int:
        """Give an image of this store one more name."""

    async def run(self, container: RunContainer, out: Output) -> int:
        """Run a container to its end (or only start it, with `detach`)."""

    async def remove(self, name: str) -> None:
        """Remove a container, running or not; a missing one is fine."""

    def allocate_address(self) -> str:
        """An address in the run's own network, which leads nowhere else. Raises `EngineError` when none is left."""

    async def digests(self) -> dict[str, str]:
        """The manifest digests of the images in this store by full name ("docker.io/library/node:15-alpine")."""

    async def close(self) -> None:
        """Remove containers, network and images, in the background; the engine's `close` waits for it."""


@dataclass(frozen=True, slots=True)
class HostedContainer:
    """A long-running container, as a container group asks for it.

    `address` must be one from `ContainerHost.allocate_address`. With `beside`, the container shares network
    (localhost, address) with the container of that name. A `command` takes the place of the image's entry point and
    arguments both. `memory_gb` and `cpu` are upper limits, 0 for none.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str | None = None
    beside: str | None = None
    memory_gb: float = 0
    cpu: float = 0
    restart: Literal["no", "on-failure", "always"] = "no"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine knows about one hosted container.

    `status` is the engine's word ("created", "running", "exited", …); `exit_code` is None while it runs.
    """

    id: str
    image_id: str
    status: str
    exit_code: int | None
    started: datetime | None
    finished: datetime | None
    restarts: int
    address: str | None


class ContainerHost(Protocol):
    """Containers that live as long as the instance, each with its own address, reachable from this machine."""

    def allocate_address(self) -> str:
        """An IPv4 address that no other container on this machine has. Raises `EngineError` when none is left."""

    def release_address(self, address: str) -> None:
        """Give an address back."""

    async def pull(self, image: str, login: Login | None = None) -> str:
        """Fetch what the registry has now under that name and return the image's id.

        Raises:
            EngineError: with the engine's own words.
        """

    async def start_container(self, container: HostedContainer) -> str:
        """Start a container from an image pulled before; returns its id. Raises `EngineError`."""

    async def inspect(self, name: str) -> ContainerState | None:
        """The container's state; None where there is no such container."""

    async def logs(self, name: str, tail: int | None = None, *, timestamps: bool = False) -> str:
        """What it wrote to stdout and stderr, the last `tail` lines at most, each after its time if asked.

        Raises:
            EngineError: where there is no such container.
        """

    async def restart(self, name: str) -> None:
        """Stop it at once and start it again."""

    async def stop(self, name: str) -> None:
        """Stop it at once; it stays and can be started again."""

    async def start(self, name: str) -> None:
        """Start a stopped container."""

    async def remove(self, name: str) -> None:
        """Stop it at once and remove it; a missing one is fine."""


class Engine(Protocol):
    """A container engine with its own stores below one instance's folder."""

    @property
    def host(self) -> ContainerHost:
        """Where container groups live."""

    async def start(self) -> None:
        """Probe the machine and write the configuration. Raises `EngineError` that names what is missing."""

    async def prepare_run(self, run_id: str, logins: Mapping[str, Login]) -> RunStore:
        """An empty store for one task run, with the credentials (by login server) it may use."""

    async def close(self) -> None:
        """Remove every container, network, mount and temporary file; images of container groups stay."""
