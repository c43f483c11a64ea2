"""The interface of a container engine, as the sandbox uses it.

`Podman` implements it. A Docker engine could be added: it needs its own daemon, started with the instance's
environment, because the daemon, not its client, connects to the registries.

Every call of a run that starts a process ends that process, and the container behind it, if its task is cancelled.
A change of a hosted container is completed first, and the cancellation is raised afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

Output = Callable[[str], Awaitable[None]]
"""Receives one line of output, without its line end, as soon as it is written."""

INFRASTRUCTURE_EXIT_CODES = frozenset({125, 126, 127})
"""Exit codes of `run` that mean "the container never ran"; every other code is the container's own."""


class EngineError(Exception):
    """The container engine is missing, unsuitable or failed; the text has the remedy or the engine's message."""


@dataclass(frozen=True, slots=True)
class Login:
    """The credentials of `docker login` for one registry."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunContainer:
    """One container of a task run.

    `environment` values never appear in a process list. `mounts` maps a host folder to an absolute path in the
    container. With `address` the container joins the run's own network under that IPv4 address; without, it has no
    network, or if it is `online` the gateway alone, which its variables name as the proxy of HTTPS. `hosts` maps names
    to addresses, for /etc/hosts. With `detach` the container is left running, with `keep` it is not removed when it
    ends, both until the store is closed.
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
    online: bool = False
    hosts: Mapping[str, str] = field(default_factory=dict)
    detach: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that a Dockerfile names, and its platform if that is given."""

    name: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """One build of an image. It says all that may be chosen: an engine adds no option from elsewhere.

    `context` is the absolute path of a folder on this machine, without links: the build fails if one of its folders
    has become one. `dockerfile` is the text of the Dockerfile, wherever it comes from. `images` are those in it that
    may not be in the store yet; the build itself pulls none. Values of `arguments` are in no process list, unless the
    engine itself reads a variable of that name; it refuses such a name if it is in `secret`.
    """

    context: Path
    dockerfile: str
    tags: tuple[str, ...] = ()
    images: tuple[BaseImage, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: frozenset[str] = frozenset()
    target: str = ""
    platform: str = ""
    labels: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push: the client's exit code, and the manifest's digest if that is 0."""

    exit_code: int
    digest: str = ""


class RunStore(Protocol):
    """The images and containers of one task run, invisible to other runs. Integer results are exit codes."""

    async def warm(self, images: Sequence[str]) -> None:
        """Cache the layers of base images, so that later runs pull only manifests. Never fails."""

    async def build(self, build: ImageBuild, out: Output) -> int:
        """Build an image."""

    async def pull(self, image: str, out: Output) -> int:
        """Pull an image by its real name."""

    async def push(self, image: str, out: Output) -> Pushed:
        """Push an image to the registry in its name."""

    async def tag(self, source: str, target: str, out: Output) -> int:
        """Add a name to an image in this store."""

    async def run(self, container: RunContainer, out: Output) -> int:
        """Run a container to its end (or only start it, with `detach`)."""

    async def remove(self, name: str) -> None:
        """Remove a container, running or not, if it exists."""

    def allocate_address(self) -> str:
        """Allocate an address in the run's own, isolated network. Raises `EngineError` if none is left."""

    async def digests(self) -> dict[str, str]:
        """The manifest digests of the images in this store by full name ("docker.io/library/node:15-alpine")."""

    async def close(self) -> None:
        """Remove containers, network and images, in the background; the engine's `close` waits for it."""


@dataclass(frozen=True, slots=True)
class HostedContainer:
    """A long-running container of a container group.

    `address` must come from `ContainerHost.allocate_address`. With `beside`, the container shares the network
    (localhost, address) of the container with that name. A `command` replaces both the image's entry point and its
    arguments. `memory_gb` and `cpu` are upper limits, 0 for none.
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
    """The state of one hosted container, as the engine reports it.

    `status` is the engine's term ("created", "running", "exited", …); `exit_code` is None while it runs.
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
        """Allocate an IPv4 address that is unique on this machine. Raises `EngineError` if none is left."""

    def release_address(self, address: str) -> None:
        """Release an address."""

    async def pull(self, image: str, login: Login | None = None) -> str:
        """Pull the image that the registry currently has under that name and return its id.

        Raises:
            EngineError: with the engine's message.
        """

    async def start_container(self, container: HostedContainer) -> str:
        """Start a container from an image pulled before; returns its id. Raises `EngineError`."""

    async def inspect(self, name: str) -> ContainerState | None:
        """The container's state; None if it does not exist."""

    async def logs(self, name: str, tail: int | None = None, *, timestamps: bool = False) -> str:
        """The container's stdout and stderr, at most the last `tail` lines, with `timestamps` each after its time.

        Raises:
            EngineError: if the container does not exist.
        """

    async def restart(self, name: str) -> None:
        """Stop the container immediately and start it again."""

    async def stop(self, name: str) -> None:
        """Stop the container immediately; it is not removed and can be started again."""

    async def start(self, name: str) -> None:
        """Start a stopped container."""

    async def remove(self, name: str) -> None:
        """Stop the container immediately and remove it, if it exists."""


class Engine(Protocol):
    """A container engine with its own stores below one instance's folder."""

    @property
    def host(self) -> ContainerHost:
        """The host of container groups."""

    async def start(self) -> None:
        """Probe the machine and write the configuration. Raises `EngineError` that names what is missing."""

    async def prepare_run(self, run_id: str, logins: Mapping[str, Login]) -> RunStore:
        """Create an empty store for one task run, with the credentials (by login server) it may use."""

    async def close(self) -> None:
        """Remove every container, network, mount and temporary file; images of container groups stay."""
