"""github.com as git clients see it: clone, fetch and push of repositories that lie in one folder.

Reading needs no sign-in. Pushing asks for Basic credentials as GitHub does, and takes any that are not empty:
there are no accounts here. No call to api.github.com is served: it is ACR that would make the webhook there,
and `on_push` stands for that webhook.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox.git.backend import serve
from sandbox.git.repositories import Repositories
from sandbox.web import Call, Fault, Surface

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GitPush:
    """A branch got a new head: repository as `owner/name`, branch without `refs/heads/`, the head's commit id
    and the first line of its message."""

    repository: str
    branch: str
    commit: str
    message: str


class GitHub:
    """Bare repositories below `root`, served as `https://github.com/<owner>/<name>[.git]`.

    Names are compared without regard to case and told in lower case. `on_push` callbacks run once a push is
    in the repository, for every branch that it moved, and before `git push` returns.
    """

    def __init__(self, root: Path) -> None:
        self._repositories = Repositories(root)
        self._pushing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.on_push: list[Callable[[GitPush], Awaitable[None]]] = []

    def exists(self, repository: str) -> bool:
        """Whether there is a repository `owner/name`."""
        return self._repositories.location(repository).is_dir()

    def path(self, repository: str) -> Path:
        """The bare repository of `owner/name`.

        Raises:
            Fault: 404 where there is none.
        """
        return self._repositories.path(repository)

    async def create(self, repository: str, source: Path) -> None:
        """Make `owner/name` with the files of the folder `source` as the first commit on `main`.

        Author and dates of the commit are fixed, so the same files give the same commit id. Executable bits
        are kept, and every file is taken, whatever a `.gitignore` among them says.

        Raises:
            Fault: 422 where the repository is there already, 400 where the name is no `owner/name`.
        """
        await self._repositories.create(repository, source)

    async def checkout(self, repository: str, ref: str | None, folder: Path, subfolder: str = "") -> str:
        """Clone `owner/name` into the empty or absent `folder` at a branch, tag or commit, and return the commit id.

        The clone shares its objects through hard links. The build context is `folder / subfolder`.

        Raises:
            Fault: 404 that names what is missing: the repository, the ref, or the subfolder at that ref.
        """
        return await self._repositories.checkout(repository, ref, folder, subfolder)

    def surface(self) -> Surface:
        """The host github.com: the three operations of git's smart HTTP protocol."""
        surface = Surface("GitHub", r"github\.com", render=_plain_fault)
        repository = "/{owner}/{name}"
        surface.operation("GET", repository + "/info/refs")(self._refs)
        surface.operation("POST", repository + "/git-upload-pack")(self._upload_pack)
        surface.operation("POST", repository + "/git-receive-pack")(self._receive_pack)
        return surface

    async def _refs(self, call: Call) -> web.StreamResponse:
        """List the refs for a fetch or a push."""
        service = call.query.get("service", "")
        if service not in ("git-upload-pack", "git-receive-pack"):
            raise Fault(403, "Forbidden", "Only git's smart HTTP protocol is served: upgrade git.")
        user = _signed_in(call.request) if service == "git-receive-pack" else None
        return await self._serve(call, "/info/refs", user)

    async def _upload_pack(self, call: Call) -> web.StreamResponse:
        """Send objects to a client that fetches."""
        return await self._serve(call, "/git-upload-pack")

    async def _receive_pack(self, call: Call) -> web.StreamResponse:
        """Take objects and new heads from a client that pushes."""
        user = _signed_in(call.request)
        name = f"{call.params['owner']}/{call.params['name']}".lower().removesuffix(".git")
        async with self._pushing[name]:
            before = await self._repositories.heads(name)

            async def tell() -> None:
                after = await self._repositories.heads(name)
                moved = [(branch, *head) for branch, head in after.items() if before.get(branch, ("",))[0] != head[0]]
                before.update(after)
                for branch, commit, message in moved:
                    await self._tell(GitPush(name, branch, commit, message))

            try:
                return await self._serve(call, "/git-receive-pack", user, tell)
            except ConnectionError:  # the client is gone, but what it pushed may be there
                await tell()
                raise

    async def _serve(
        self, call: Call, service: str, user: str | None = None, before_end: Callable[[], Awaitable[None]] | None = None
    ) -> web.StreamResponse:
        bare = self.path(f"{call.params['owner']}/{call.params['name']}")
        root = self._repositories.root
        return await serve(call.request, root, f"/{bare.relative_to(root)}{service}", user, before_end)

    async def _tell(self, push: GitPush) -> None:
        log.info("%s: %s is now %s", push.repository, push.branch, push.commit[:12])
        for callback in self.on_push:
            try:
                await callback(push)
            except Exception:  # one listener's fault must not keep the others from hearing
                log.exception("A listener failed on the push to %s", push.repository)


def _signed_in(request: web.BaseRequest) -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = password = ""
    if scheme.lower() != "basic" or not (user or password):
        challenge = {"WWW-Authenticate": 'Basic realm="GitHub"'}
        raise Fault(401, "Unauthorized", "A push needs Basic credentials (any will do here).", challenge)
    return user or "token"


def _plain_fault(fault: Fault) -> web.Response:
    return web.Response(text=fault.message + "\n", status=fault.status, headers=fault.headers)
