"""Pulls a group's images, with the credentials that the group has for their registry."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from sandbox.arm.surface import ResourceId
from sandbox.containers.journal import Journal
from sandbox.containers.shapes import Credential
from sandbox.engine.contract import ContainerHost, EngineError, Login
from sandbox.web import Fault

log = logging.getLogger(__name__)

# Messages of errors that the registry causes, not the name or the credential.
_REGISTRY_AT_FAULT = re.compile(
    r"toomanyrequests|too many requests|rate limit|\b(?:429|50[0-4])\b|timeout|timed out|connection refused"
    r"|reset by peer|\bEOF\b|no such host",
    re.IGNORECASE,
)
_DOCKER_HUB = "index.docker.io"


class Registries(Protocol):
    """The registries, as a pull with a managed identity uses them."""

    def issue_login(
        self, login_server: str, *, actor: str, repositories: Mapping[str, Sequence[str]] | None
    ) -> tuple[str, str]:
        """Issue a user name and a password for one registry. Raises `Fault` if it does not exist."""


class HostingEngine(Protocol):
    """The container engine, as container groups use it; `host` is available once the engine runs."""

    @property
    def host(self) -> ContainerHost:
        """The host of long-running containers."""


class Images:
    """Pulls images for container groups."""

    def __init__(self, engine: HostingEngine, registries: Registries) -> None:
        self._engine, self._registries = engine, registries

    async def pull(self, image: str, credentials: Sequence[Credential], group: str, journal: Journal) -> str:
        """Pull the image that the registry currently has under that name, and return the engine's image id.

        Raises:
            Fault: 400 InaccessibleImage, or 409 RegistryErrorResponse if the registry is at fault.
        """
        journal.note("Pulling", f'pulling image "{image}"')
        try:
            image_id = await self._engine.host.pull(image, self._login(image, credentials))
        except (EngineError, Fault) as error:
            log.warning("Container group %s cannot pull %s: %s", group, image, error)
            journal.note("Failed", f'Failed to pull image "{image}": {error}')
            raise _error(image, group, str(error)) from error
        journal.note("Pulled", f'Successfully pulled image "{image}"')
        return image_id

    def _login(self, image: str, credentials: Sequence[Credential]) -> Login | None:
        server = registry_of(image)
        names = (server, "docker.io") if server == _DOCKER_HUB else (server,)
        credential = next((c for c in credentials if c.server.lower() in names), None)
        if credential is None:
            return None
        if not credential.identity:
            return Login(credential.username or "", credential.password or "")
        actor = ResourceId.parse(credential.identity).name
        pull_only = {_repository_of(image): ("pull",)}
        return Login(*self._registries.issue_login(server, actor=actor, repositories=pull_only))


def registry_of(image: str) -> str:
    """The registry's host name in an image reference; Docker Hub's if it has none."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return _DOCKER_HUB if first.lower() == "docker.io" else first.lower()
    return _DOCKER_HUB


def _repository_of(image: str) -> str:
    name = image.partition("@")[0].partition("/")[2]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _error(image: str, group: str, problem: str) -> Fault:
    if _REGISTRY_AT_FAULT.search(problem.replace(image, "")):
        message = f"An error response is received from the docker registry '{registry_of(image)}'. Please retry later."
        return Fault(409, "RegistryErrorResponse", message)
    message = (
        f"The image '{image}' in container group '{group}' is not accessible. "
        "Please check the image and registry credential."
    )
    return Fault(400, "InaccessibleImage", message)
