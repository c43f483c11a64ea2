"""The blobs of a registry's runs: logs that are appended to, and source code that clients upload.

Clients get SAS URLs with real host names, and the sandbox writes through the same URLs, so a client reads what any
Azure client would.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import aiohttp
from yarl import URL

from sandbox.tasks.ports import Storage
from sandbox.web import Fault

_LINK_MINUTES = 75
_SOURCE_LIMIT_BYTES = 512 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_HEADERS = {"x-ms-version": "2021-12-02"}


class Blobs:
    """Reads and writes blobs by SAS.

    Args:
        storage: signs the URLs.
        session: creates a client that reaches the sandbox by real names.
    """

    def __init__(self, storage: Storage, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._storage, self._new_session = storage, session
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def link(self, registry: str, blob: str) -> str:
        """A URL that grants read access to one blob for 75 minutes."""
        return self._url(registry, blob, "r")

    def upload(self, registry: str) -> tuple[str, str]:
        """The relative path for a client's source code, and the URL for uploading it."""
        path = f"source/{datetime.now(UTC):%Y%m%d%H%M}/{uuid.uuid4()}.tar.gz"
        return path, self._url(registry, path, "cw")

    async def prepare(self, registry: str) -> None:
        """Create the registry's container if it does not exist."""
        await self._storage.create_container(_container(registry))

    async def create_log(self, registry: str, blob: str) -> None:
        """Create an empty append blob."""
        headers = {"x-ms-blob-type": "AppendBlob", "Content-Type": "text/plain; charset=utf-8"}
        await self._put(self._url(registry, blob, "cw"), "", headers)

    async def append(self, registry: str, blob: str, data: bytes) -> None:
        """Append at most 4 MiB to a log."""
        await self._put(self._url(registry, blob, "aw"), "comp=appendblock", {}, data)

    async def complete(self, registry: str, blob: str, result: str) -> None:
        """Mark a log as complete in its metadata, with the result of the run."""
        await self._put(self._url(registry, blob, "w"), "comp=metadata", {"x-ms-meta-Complete": result})

    async def download(self, registry: str, blob: str, target: Path) -> None:
        """Fetch an uploaded source into a file.

        Raises:
            Fault: 404 that names the blob if nothing was uploaded there, 413 if it is larger than 512 MiB.
        """
        async with self._client().get(_exact(self.link(registry, blob)), headers=_HEADERS) as answer:
            if answer.status != HTTPStatus.OK:
                raise Fault(404, "BlobNotFound", f"No source code was uploaded to '{blob}' (HTTP {answer.status}).")
            size = 0
            with target.open("wb") as file:
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > _SOURCE_LIMIT_BYTES:
                        raise Fault(413, "RequestBodyTooLarge", f"The source code in '{blob}' is above 512 MiB.")
                    file.write(chunk)

    def _url(self, registry: str, blob: str, permissions: str) -> str:
        return self._storage.sas_url(_container(registry), blob, permissions=permissions, minutes=_LINK_MINUTES)

    async def _put(self, url: str, query: str, headers: dict[str, str], data: bytes = b"") -> None:
        full = f"{url}&{query}" if query else url
        async with self._client().put(_exact(full), data=data, headers=_HEADERS | headers) as answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                # The URL grants access, so it is not in the message.
                raise Fault(
                    502, "StorageError", f"Storage refused {query or 'to create the blob'}: HTTP {answer.status}."
                )

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._new_session()
        return self._session


def _exact(url: str) -> URL:
    return URL(url, encoded=True)  # quoting it again could change the signature


def _container(registry: str) -> str:
    return f"container-{hashlib.sha256(registry.lower().encode()).hexdigest()[:32]}"
