"""Reads an image from a registry over the network, as any client does: by its real host name, with its tokens.

Source: https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec

from sandbox.registry.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from sandbox.web import Fault

_ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_DOCKER_HUB = frozenset(("docker.io", "index.docker.io"))


class _Descriptor(msgspec.Struct):
    digest: str
    urls: list[str] | None = None


class _Document(msgspec.Struct):
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class SourceRepository:
    """One repository of a registry, read with one user's rights.

    Args:
        session: the HTTP session that reaches the registry.
        host: its usual host name; `docker.io` is mapped to `registry-1.docker.io`.
        repository: the repository's name.
        login: a user name and password, or None for anonymous.
    """

    def __init__(
        self, session: aiohttp.ClientSession, host: str, repository: str, login: tuple[str, str] | None
    ) -> None:
        self._session, self._repository = session, repository
        self._host = "registry-1.docker.io" if host in _DOCKER_HUB else host
        self._login = {"Authorization": _basic(*login)} if login else {}
        self._headers: dict[str, str] = {}

    async def manifest(self, reference: str) -> Manifest:
        """The manifest of a tag or digest. As in Azure, the source has to tell its digest (Azure/acr#233).

        Raises:
            Fault: 400 SourceImageNotFound, SourceUnauthorized or SourceUnreachable. Always 400, because it ends a
                long-running operation: a client would relate a 401 to its own token, and poll again on a 502.
        """
        async with await self._get(f"manifests/{reference}", {"Accept": _ACCEPT}) as answer:
            if "Docker-Content-Digest" not in answer.headers:
                message = f"The source registry gave no header Docker-Content-Digest for {self._name(reference)}."
                raise Fault(400, "InvalidImage", message)
            body = await answer.content.read(_MANIFEST_LIMIT_BYTES + 1)
            while chunk := await answer.content.read(_MANIFEST_LIMIT_BYTES):
                body += chunk
                if len(body) > _MANIFEST_LIMIT_BYTES:
                    raise Fault(400, "InvalidImage", f"The manifest of {self._name(reference)} is too large.")
            return Manifest(body, answer.content_type)

    async def blob(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of a blob, in chunks.

        Raises:
            Fault: as for `manifest`.
        """
        async with await self._get(f"blobs/{digest}", {}) as answer:
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                yield chunk

    async def _get(self, path: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = f"https://{self._host}/v2/{self._repository}/{path}"
        try:
            answer = await self._session.get(url, headers=self._headers | dict(headers))
            if answer.status == 401 and not self._headers:
                challenge = answer.headers.get("WWW-Authenticate", "")
                answer.release()
                self._headers = await self._authorization(challenge)
                answer = await self._session.get(url, headers=self._headers | dict(headers))
        except aiohttp.ClientError as error:
            message = f"The source registry {self._host} is not reachable: {error}"
            raise Fault(400, "SourceUnreachable", message) from error
        if answer.status != 200:
            reference = path.partition("/")[2]
            answer.release()
            raise self._fault(answer.status, reference)
        return answer

    async def _authorization(self, challenge: str) -> dict[str, str]:
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.pop("realm", "")
        if not challenge.lower().startswith("bearer ") or not realm:
            raise self._fault(401, "")
        query = {"service": parameters.get("service", ""), "scope": f"repository:{self._repository}:pull"}
        async with self._session.get(realm, params=query, headers=self._login) as answer:
            if answer.status != 200:
                raise self._fault(answer.status, "")
            token = msgspec.json.decode(await answer.read(), type=_Token)
        return {"Authorization": f"Bearer {token.token or token.access_token}"}

    def _fault(self, status: int, reference: str) -> Fault:
        name = self._name(reference)
        if status in (401, 403):
            message = f"Authentication failed for the source image {name}: credentials are missing, wrong or too weak."
            return Fault(400, "SourceUnauthorized", message)
        if status == 404:
            return Fault(400, "SourceImageNotFound", f"The source image {name} was not found.")
        if status == 502:
            return Fault(400, "SourceUnreachable", f"The sandbox does not answer for the source registry {self._host}.")
        if status == 429:
            message = f"TOOMANYREQUESTS: the pull rate limit of {self._host} is reached; {name} was not imported."
            return Fault(400, "SourceFailed", message)
        return Fault(400, "SourceFailed", f"The source registry answered {status} for {name}.")

    def _name(self, reference: str) -> str:
        separator = "@" if ":" in reference else ":"
        return f"{self._host}/{self._repository}" + (f"{separator}{reference}" if reference else "")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def children(manifest: Manifest) -> list[str]:
    """The digests of the manifests that an index references; empty for an image.

    Raises:
        Fault: 400 InvalidImage if the manifest is none.
    """
    return [entry.digest for entry in _decoded(manifest).manifests or ()]


def blobs(manifest: Manifest) -> list[str]:
    """The digests of the blobs that an image's manifest references, its configuration first.

    Layers that are fetched from elsewhere (`urls`) are not stored in a registry.

    Raises:
        Fault: 400 InvalidImage if the manifest is none.
    """
    document = _decoded(manifest)
    if document.manifests is not None or document.config is None:
        return []
    return [one.digest for one in (document.config, *(document.layers or ())) if not one.urls]


def _decoded(manifest: Manifest) -> _Document:
    try:
        return msgspec.json.decode(manifest.body, type=_Document)
    except (ValueError, RecursionError) as error:
        raise Fault(400, "InvalidImage", f"The manifest {manifest.digest} is not readable: {error}") from error
