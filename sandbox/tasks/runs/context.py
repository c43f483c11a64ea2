"""The context of a run: a Git repository, an uploaded archive, or an empty folder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sandbox.git.context import GitContext
from sandbox.tasks.ports import Repositories
from sandbox.tasks.records import RunRecord
from sandbox.tasks.runs.archive import ArchiveError, unpack
from sandbox.tasks.runs.blobs import Blobs
from sandbox.web import Fault

_NONE = (None, "", "/dev/null")


@dataclass(frozen=True, slots=True)
class Context:
    """A folder with the sources. `repository`, `branch` and `commit` are empty if it is not a Git context."""

    folder: Path
    repository: str = ""
    branch: str = ""
    commit: str = ""


class Contexts:
    """Fetches contexts."""

    def __init__(self, repositories: Repositories, blobs: Blobs) -> None:
        self._repositories, self._blobs = repositories, blobs

    async def fetch(self, run: RunRecord, location: str | None, scratch: Path) -> Context:
        """Fetch the context at `location` into the empty folder `scratch`.

        A run that was started by a commit uses that commit, even if its branch has changed since.

        Raises:
            Fault: it does not exist, or is of a kind that the sandbox does not support.
        """
        if location in _NONE:
            return Context(_new(scratch, "empty"))
        assert location is not None
        if (git := GitContext.parse(location)) is not None:
            return await self._clone(run, git, scratch / "repository")
        if location.startswith("source/"):
            archive = scratch / "source.tar.gz"
            await self._blobs.download(run.registry, location, archive)
            return Context(await asyncio.to_thread(_unpack, archive, _new(scratch, "source")))
        kind = location.split("#", 1)[0]
        raise Fault(400, "UnsupportedContext", f"The sandbox serves contexts of github.com and uploads, not '{kind}'.")

    async def _clone(self, run: RunRecord, git: GitContext, folder: Path) -> Context:
        trigger = run.cause.source_trigger
        watched = GitContext.parse(trigger.repository_url) if trigger else None
        pinned = trigger.commit_id if trigger and watched and watched.repository == git.repository else None
        commit = await self._repositories.checkout(git.repository, pinned or git.ref, folder, git.folder)
        branch = trigger.branch_name if trigger and pinned else git.ref or ""
        return Context(folder / git.folder, git.repository, branch, commit)


def _new(scratch: Path, name: str) -> Path:
    folder = scratch / name
    folder.mkdir()
    return folder


def _unpack(archive: Path, target: Path) -> Path:
    try:
        unpack(archive, target)
    except ArchiveError as error:
        raise Fault(400, "InvalidSource", f"The uploaded source code cannot be unpacked: {error}") from error
    return target
