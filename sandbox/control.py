"""The sandbox's own operations that belong to no service: its health, and repositories made from a folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
from aiohttp import web

from sandbox.git import GitHub
from sandbox.web import Call, Fault, Surface, json_answer


class RepositoryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /git/{owner}/{name}`: the folder with the files of the first commit."""

    source: str


def mount_control(local: Surface, github: GitHub) -> None:
    """Add the operations to the sandbox's own surface."""

    @local.operation("GET", "/health")
    async def health(call: Call) -> web.StreamResponse:
        """Whether everything is started: this answers only then."""
        return json_answer({"status": "ready"})

    @local.operation("PUT", "/git/{owner}/{name}")
    async def create_repository(call: Call) -> web.StreamResponse:
        """Make a Git repository with a folder's files as its first commit; one that is there is left alone."""
        source = _folder((await call.body(RepositoryBody)).source)
        repository = f"{call.params['owner']}/{call.params['name']}"
        if github.exists(repository):
            return json_answer({"url": f"https://github.com/{repository}.git"})
        await github.create(repository, source)
        return json_answer({"url": f"https://github.com/{repository}.git"}, 201)


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_dir():
        raise Fault(400, "InvalidSource", f"'{path}' is no absolute path of a folder.")
    return folder
