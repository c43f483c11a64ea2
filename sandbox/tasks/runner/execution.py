"""The state that the steps of a run share."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.engine.contract import RunStore
from sandbox.tasks.outcome import ImageReference, RunInfo, full_name, parse_image
from sandbox.tasks.runner.dockerfile import Bases
from sandbox.tasks.runner.log import RunLog
from sandbox.tasks.taskfile.model import Step, TaskFile

WORKSPACE = "/workspace"
LONGEST_DOCKERFILE = 1024 * 1024
"""In bytes."""
Sleep = Callable[[float], Awaitable[None]]


class StepFailed(Exception):
    """A step failed. `exit_code` is None if no program exited: the step was refused, or it timed out."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Built:
    """What ACR records for a build step. `used` are the full names of the base images that the build really uses.

    With BuildKit, the digests of the bases are read from their registries, otherwise from the local images.
    """

    tags: tuple[str, ...]
    bases: Bases
    used: frozenset[str] = frozenset()
    has_buildkit: bool = False


@dataclass(slots=True)
class Execution:
    """One run: its services, and its results so far.

    `addresses` are those in the run's network, by step id; empty if no step needs one. `volumes` are the folders of the
    task's secret volumes by name, `home` that which is the home of all containers of steps.
    """

    task: TaskFile
    run: RunInfo
    context: Path
    store: RunStore
    log: RunLog
    sleep: Sleep
    addresses: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, Path] = field(default_factory=dict)
    home: Path | None = None
    local: set[str] = field(default_factory=set)
    built: dict[str, Built] = field(default_factory=dict)
    pushed: list[ImageReference] = field(default_factory=list)

    def note_local(self, images: Sequence[str]) -> None:
        """Record images that exist in the run's store, even if a registry has others under their names."""
        self.local.update(full_name(parse_image(image)) for image in images)

    def note_pushed(self, image: str, digest: str) -> None:
        """Record an image that was pushed to a registry."""
        name = parse_image(image)
        self.pushed.append(ImageReference(name.registry, name.repository, name.tag, digest))

    def folder(self, step: Step) -> Path:
        """The step's working directory on this machine. Raises `StepFailed` if it is outside the workspace."""
        inside = step.working_directory.removeprefix(WORKSPACE).lstrip("/")
        if step.working_directory.startswith("/") and not step.working_directory.startswith(WORKSPACE):
            inside = ""
        return self._inside(self.context / inside, f"the working directory {step.working_directory}")

    def place(self, folder: Path, name: str) -> Path:
        """A path of a command line on this machine, without links. Raises `StepFailed` if it is outside the workspace.

        `folder` is where the command runs.
        """
        below = name.removeprefix(WORKSPACE).lstrip("/") if f"{name}/".startswith(f"{WORKSPACE}/") else None
        return self._inside(folder / name if below is None else self.context / below, name)

    def read(self, path: Path) -> str:
        """The text of a Dockerfile. Raises `StepFailed` if it is outside the workspace, or too long.

        The place is that of the open file: a container that runs beside this step may replace a folder by a link.
        """
        with path.open("rb") as file:
            self._inside(Path(f"/proc/self/fd/{file.fileno()}"), path.name)
            content = file.read(LONGEST_DOCKERFILE + 1)
        if len(content) > LONGEST_DOCKERFILE:
            raise StepFailed(f"{path.name} has more than {LONGEST_DOCKERFILE} bytes: the sandbox reads no longer one")
        return content.decode(errors="replace")

    def _inside(self, path: Path, name: str) -> Path:
        found = Path(os.path.realpath(path))  # no exception for links in a circle, which are neither file nor folder
        if not found.is_relative_to(self.context.resolve()):
            raise StepFailed(f"{name} is outside {WORKSPACE}")
        return found
