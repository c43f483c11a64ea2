"""A container engine that records what it is asked, and runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from sandbox.engine.contract import ContainerHost, ImageBuild, Login, Output, Pushed, RunContainer

_DIGEST = f"sha256:{'1' * 64}"
_MOMENT_SECONDS = 0.002


class RecordingStore:
    """A store of one run. `exits` are the exit codes of containers and images in turn, `says` their output."""

    def __init__(self, exits: Mapping[str, Sequence[int]], says: Mapping[str, str]) -> None:
        self._exits = {name: list(codes) for name, codes in exits.items()}
        self._says = says
        self._addresses = 1
        self.calls: list[str] = []
        self.containers: list[RunContainer] = []

    def _exit(self, name: str) -> int:
        codes = self._exits.get(name)
        return codes.pop(0) if codes else 0

    async def warm(self, images: Sequence[str]) -> None:
        """Nothing is cached."""

    async def build(self, build: ImageBuild, out: Output) -> int:
        """Record a build by its tags and arguments."""
        arguments = [f"{name}={value}" for name, value in build.arguments.items()]
        self.calls.append(" ".join(("build", *build.tags, *arguments)))
        return self._exit("build")

    async def pull(self, image: str, out: Output) -> int:
        """Record a pull."""
        self.calls.append(f"pull {image}")
        return self._exit(image)

    async def push(self, image: str, out: Output) -> Pushed:
        """Record a push."""
        self.calls.append(f"push {image}")
        code = self._exit(image)
        return Pushed(code, "" if code else _DIGEST)

    async def tag(self, source: str, target: str, out: Output) -> int:
        """Record a tag."""
        self.calls.append(f"tag {source} {target}")
        return 0

    async def run(self, container: RunContainer, out: Output) -> int:
        """Record the container and that it ran."""
        self.containers.append(container)
        self.calls.append(f"run {container.name}")
        await out(self._says.get(container.name, ""))
        await asyncio.sleep(_MOMENT_SECONDS)
        self.calls.append(f"end {container.name}")
        return self._exit(container.name)

    async def remove(self, name: str) -> None:
        """Nothing is left to remove."""

    def allocate_address(self) -> str:
        """One address after the other."""
        self._addresses += 1
        return f"10.89.7.{self._addresses}"

    async def digests(self) -> dict[str, str]:
        """No image is here."""
        return {}

    async def close(self) -> None:
        """Nothing is left to remove."""


class RecordingEngine:
    """Hands out one store."""

    def __init__(self, exits: Mapping[str, Sequence[int]], says: Mapping[str, str]) -> None:
        self.store = RecordingStore(exits, says)

    @property
    def host(self) -> ContainerHost:
        """There are no container groups."""
        raise NotImplementedError

    async def start(self) -> None:
        """Nothing is probed."""

    async def prepare_run(self, run_id: str, logins: Mapping[str, Login]) -> RecordingStore:
        """The store."""
        return self.store

    async def close(self) -> None:
        """Nothing is left to remove."""
