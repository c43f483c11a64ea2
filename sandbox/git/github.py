"""github.com for git clients: clone, fetch and push of the repositories in one folder.

Reading requires no authentication. Pushing requires Basic credentials, as on GitHub: any user name, and as password the
instance's secret, because a push starts tasks. api.github.com is not served: ACR would create the webhook there, and
`on_push` represents that webhook.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from aiohttp import web

from sandbox.git.backend import serve
from sandbox.git.repositories import Repositories
from sandbox.rights import Rights
from sandbox.web import Call, Fault, Surface

log = logging.getLogger(__name__)

_SIGN_IN = "A push needs the sandbox's secret: run git with the variables of `python -m sandbox env`."


@dataclass(frozen=True, slots=True)
class GitPush:
    """A new head of a branch: repository as `owner/name`, branch without `refs/heads/`, the head's commit id
    and the first line of its message."""

    repository: str
    branch: str
    commit: str
    message: str


class GitHub:
    """Bare repositories below `root`, served as `https://github.com/<owner>/<name>[.git]`; who pushes has the `secret`.

    git runs with `rights`: what it serves or takes a first commit from, it must be allowed to read.
    Names are case-insensitive, and reported in lower case. `on_push` callbacks run after a push is in the
    repository, for every branch that it moved, and before `git push` returns.
    """

    def __init__(self, root: Path, secret: str, rights: Rights | None = None) -> None:
        self._rights = rights or Rights()
        self._repositories, self._secret = Repositories(root, self._rights), secret
        self._pushing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.on_push: list[Callable[[GitPush], Awaitable[None]]] = []

    def exists(self, repository: str) -> bool:
        """Whether the repository `owner/name` exists."""
        return self._repositories.location(repository).is_dir()

    def path(self, repository: str) -> Path:
        """The bare repository of `owner/name`.

        Raises:
            Fault: 404 if it does not exist.
        """
        return self._repositories.path(repository)

    async def create(self, repository: str, source: Path) -> None:
        """Create `owner/name` with the files of the folder `source` as the first commit on `main`.

        Author and dates of the commit are fixed, so the same files result in the same commit id. Executable
        bits are preserved, and every file is added, even if a `.gitignore` among them excludes it.

        Raises:
            Fault: 422 if the repository exists already, 400 if the name is not `owner/name`, or git cannot read the
                files.
        """
        await self._repositories.create(repository, source)

    async def checkout(self, repository: str, ref: str | None, folder: Path, subfolder: str = "") -> str:
        """Clone `owner/name` into the empty or absent `folder` at a branch, tag or commit, and return the commit id.

        The clone shares nothing with the repository. The build context is `folder / subfolder`.

        Raises:
            Fault: 404 that names what is missing: the repository, the ref, or the subfolder at that ref.
        """
        return await self._repositories.checkout(repository, ref, folder, subfolder)

    def surface(self) -> Surface:
        """The surface of github.com: the three operations of git's smart HTTP protocol."""
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
        user = self._signed_in(call.request) if service == "git-receive-pack" else None
        return await self._serve(call, "/info/refs", user)

    async def _upload_pack(self, call: Call) -> web.StreamResponse:
        """Send objects to a client that fetches."""
        return await self._serve(call, "/git-upload-pack")

    async def _receive_pack(self, call: Call) -> web.StreamResponse:
        """Receive objects and new heads from a client that pushes."""
        user = self._signed_in(call.request)
        name = f"{call.params['owner']}/{call.params['name']}".lower().removesuffix(".git")
        async with self._pushing[name]:
            before = await self._repositories.heads(name)

            async def notify() -> None:
                after = await self._repositories.heads(name)
                moved = [(branch, *head) for branch, head in after.items() if before.get(branch, ("",))[0] != head[0]]
                before.update(after)
                for branch, commit, message in moved:
                    await self._notify(GitPush(name, branch, commit, message))

            try:
                return await self._serve(call, "/git-receive-pack", user, notify)
            except ConnectionError:  # the client has disconnected, but its push may be in the repository
                await notify()
                raise

    async def _serve(
        self, call: Call, service: str, user: str | None = None, before_end: Callable[[], Awaitable[None]] | None = None
    ) -> web.StreamResponse:
        bare = self.path(f"{call.params['owner']}/{call.params['name']}")
        root = self._repositories.root
        return await serve(call.request, self._rights, root, f"/{bare.relative_to(root)}{service}", user, before_end)

    def _signed_in(self, request: web.BaseRequest) -> str:
        """The user name of a request with the secret. Raises `Fault`: 401 if it has another, or none."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            user = password = ""
        if scheme.lower() != "basic" or not compare_digest(password.encode(), self._secret.encode()):
            raise Fault(401, "Unauthorized", _SIGN_IN, {"WWW-Authenticate": 'Basic realm="GitHub"'})
        return user or "token"

    async def _notify(self, push: GitPush) -> None:
        log.info("%s: branch %s is now at %s", push.repository, push.branch, push.commit[:12])
        for callback in self.on_push:
            try:
                await callback(push)
            except Exception:  # an exception in one listener must not affect the others
                log.exception("A listener failed on the push to %s", push.repository)


def _plain_fault(fault: Fault) -> web.Response:
    return web.Response(text=fault.message + "\n", status=fault.status, headers=fault.headers)
