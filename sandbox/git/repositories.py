"""Bare repositories in one folder, by `owner/name`: created from plain files, cloned for a build."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox.git.commands import GitError, git
from sandbox.rights import Rights
from sandbox.web import Fault

_NAME = re.compile(r"[a-z0-9_-][a-z0-9_.-]*/[a-z0-9_-][a-z0-9_.-]*")
_UNFINISHED = ".new-"
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Sandbox",
    "GIT_AUTHOR_EMAIL": "sandbox@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Sandbox",
    "GIT_COMMITTER_EMAIL": "sandbox@example.com",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


class Repositories:
    """The bare repositories in a folder. Names are `owner/name`, with or without `.git`, and case-insensitive.

    git runs with `rights`. Each repository is its to change; the folders around them are not.
    """

    def __init__(self, root: Path, rights: Rights) -> None:
        self.root, self._rights = root.resolve(), rights
        self.root.mkdir(parents=True, exist_ok=True)
        rights.open_to_servers(self.root)
        for left in self.root.glob(f"{_UNFINISHED}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        for repository in self.root.glob("*/*.git"):
            rights.open(repository.parent)
            rights.give(repository)

    def location(self, repository: str) -> Path:
        """The folder of a repository, which need not exist.

        Raises:
            Fault: 400 if the text is not `owner/name`.
        """
        name = repository.lower().removesuffix(".git")
        if not _NAME.fullmatch(name):
            raise Fault(400, "BadRequest", f"'{repository}' is no 'owner/name'.")
        return self.root / f"{name}.git"

    def path(self, repository: str) -> Path:
        """The bare repository.

        Raises:
            Fault: 404 if it does not exist.
        """
        folder = self.location(repository)
        if not folder.is_dir():
            raise Fault(404, "NotFound", f"There is no repository https://github.com/{repository}.")
        return folder

    async def create(self, repository: str, source: Path) -> None:
        """Create a repository with the files of `source` as the first commit on `main`.

        Raises:
            Fault: 422 if the repository exists already, 400 if git cannot read the files.
        """
        folder = self._prepare(repository)
        with self._building() as building:
            await self._git(building, "init", "--quiet", "--bare", "--initial-branch=main", ".")
            await self._git(building, "config", "receive.autogc", "false")  # it would outlive the push that started it
            import_files = ("-c", "core.bare=false", "--git-dir", str(building), "--work-tree", ".")
            commit = ("commit", "--quiet", "--allow-empty", "--message", "Import the files")
            try:
                await self._git(source, *import_files, "add", "--all", "--force", ".")
                await self._git(source, *import_files, *commit, environment=_AUTHOR)
            except GitError as error:
                problem = f"git, which runs as {self._rights.name}, cannot import {source}: {error}"
                raise Fault(400, "InvalidSource", problem) from error
            building.rename(folder)

    async def checkout(self, repository: str, ref: str | None, folder: Path, subfolder: str = "") -> str:
        """Clone into `folder` at a branch, tag or commit (None: the default branch); return the commit id.

        Raises:
            Fault: 404 that names what is missing.
        """
        bare = self.path(repository)
        commit = await self._resolve(bare, repository, ref or "HEAD")
        clone = ("clone", "--quiet", "--local", "--no-hardlinks", "--no-checkout")  # a build could write through a link
        with self._building() as building:
            await self._git(building, *clone, str(bare), ".")
            await self._git(building, "-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit)
            await asyncio.to_thread(self._rights.take, building)
            building.chmod(0o755)
            folder.parent.mkdir(parents=True, exist_ok=True)
            building.rename(folder)
        if not _holds(folder, subfolder):
            raise Fault(404, "NotFound", f"{repository} has no folder '{subfolder}' at '{ref or 'HEAD'}'.")
        return commit

    async def heads(self, repository: str) -> dict[str, tuple[str, str]]:
        """Every branch with its commit id and the first line of that commit's message."""
        layout = "%(refname:lstrip=2)%00%(objectname)%00%(contents:subject)"
        output = await self._git(self.path(repository), "for-each-ref", f"--format={layout}", "refs/heads")
        heads = (line.split("\0") for line in output.split("\n") if line)
        return {branch: (commit, message) for branch, commit, message in heads}

    async def _git(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return await git(self._rights, folder, *arguments, environment=environment)

    @contextmanager
    def _building(self) -> Iterator[Path]:
        """An empty folder that git may write, which is removed if it is still there at the end."""
        building = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.root))
        self._rights.give(building)
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _prepare(self, repository: str) -> Path:
        folder = self.location(repository)
        if folder.exists():
            raise Fault(422, "UnprocessableEntity", f"The repository {repository} exists already.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._rights.open(folder.parent)
        return folder

    async def _resolve(self, bare: Path, repository: str, ref: str) -> str:
        verify = ("rev-parse", "--verify", "--quiet", "--end-of-options")
        for candidate in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
            try:
                return await self._git(bare, *verify, candidate + "^{commit}")
            except GitError:
                continue
        raise Fault(404, "NotFound", f"{repository} has no branch, tag or commit '{ref}'.")


def _holds(folder: Path, subfolder: str) -> bool:
    inner = Path(os.path.realpath(folder / subfolder))  # no exception for links in a circle, which are no folder
    return inner.is_relative_to(folder.resolve()) and inner.is_dir()
