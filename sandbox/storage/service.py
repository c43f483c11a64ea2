"""Azure Storage: tables, queues and blobs of one account, under its real host names, on Azurite.

The gateway checks the token, replaces it with a signature of its own and forwards the request as plain
HTTP. URLs are not logged: they would reveal that signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from sandbox.entra import STORAGE_AUDIENCES, Issuer
from sandbox.forward import Backend
from sandbox.instance import TENANT, Instance, Settings
from sandbox.rights import Rights
from sandbox.storage.account import open_account
from sandbox.storage.limits import check_entity, limited_body, rewrite_batch
from sandbox.storage.process import SERVICES, Azurite
from sandbox.web import Call, Fault, Surface

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "MERGE", "DELETE", "OPTIONS")
_WHOLE_TABLE = re.compile(r"/Tables(?:\(.*\))?", re.IGNORECASE)
_WRITES_ENTITY = frozenset(("POST", "PUT", "PATCH", "MERGE"))


class Storage:
    """The storage account of one instance.

    `tools` is the folder in which Azurite is; it runs with `rights`.
    """

    def __init__(
        self, instance: Instance, settings: Settings, issuer: Issuer, tools: Path, rights: Rights | None = None
    ) -> None:
        rights = rights or Rights()
        folder, data = instance.folder("storage"), instance.folder("storage", "data")
        rights.open_to_servers(folder)
        rights.give(data)
        self._issuer = issuer
        self._account = open_account(settings.storage_account, folder / "account.key")
        self._azurite = Azurite(
            azurite_script(tools),
            self._account,
            data,
            instance.folder("logs") / "azurite.log",
            durable=settings.durable_storage,
            rights=rights,
        )
        self._backends = {service: Backend(self._azurite.ports[service]) for service in SERVICES}
        self._full_access = self._account.full_access()

    async def start(self) -> None:
        """Start Azurite. Raises `AzuriteError`."""
        await self._azurite.start()

    async def stop(self) -> None:
        """Stop Azurite; all written data is retained."""
        for backend in self._backends.values():
            await backend.close()
        await self._azurite.stop()

    @property
    def pid(self) -> int | None:
        """Azurite's process id, for drills."""
        return self._azurite.pid

    def surface(self) -> Surface:
        """The blob, queue and table services under the account's real host names."""
        surface = Surface("Azure Storage", r"[a-z0-9]{3,24}\.(?:blob|queue|table)\.core\.windows\.net", render=_fault)
        for method in _METHODS:
            summary = "Forwarded to Azurite, the emulator of Azure Storage."
            surface.operation(method, "/", summary=summary)(self._pass_on)
            surface.operation(method, "/{path:rest}", summary=summary)(self._pass_on)
        return surface

    def sas_url(self, container: str, blob: str, *, permissions: str, minutes: int) -> str:
        """A SAS URL (real host name) that grants `permissions` (of `racwd`, in this order) on a blob for `minutes`."""
        expiry = datetime.now(UTC) + timedelta(minutes=minutes)
        query = self._account.blob_access(container, blob, permissions, expiry)
        return f"https://{self._account.host('blob')}/{container}/{quote(blob)}?{query}"

    async def create_container(self, name: str) -> None:
        """Create a blob container if it does not exist."""
        await self._write("PUT", f"/{name}", "restype=container", {}, b"", accepted=(201, 409))

    async def put_blob(self, container: str, blob: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """Write a blob, replacing an existing one of that name; the container is created if necessary."""
        await self.create_container(container)
        headers = {"x-ms-blob-type": "BlockBlob"} | {f"x-ms-meta-{name}": value for name, value in metadata.items()}
        await self._write("PUT", f"/{container}/{quote(blob)}", "", headers, data, accepted=(201,))

    async def _write(
        self, method: str, path: str, query: str, headers: dict[str, str], data: bytes, *, accepted: tuple[int, ...]
    ) -> None:
        parts = "&".join(part for part in (query, self._full_access) if part)
        url = f"http://127.0.0.1:{self._azurite.ports['blob']}{path}?{parts}"
        sent = headers | {"Host": self._account.host("blob"), "x-ms-version": "2022-11-02"}
        async with aiohttp.ClientSession() as session, session.request(method, url, headers=sent, data=data) as answer:
            if answer.status not in accepted:
                raise Fault(502, "StorageError", f"Storage refused to write {path}: HTTP {answer.status}.")

    async def _pass_on(self, call: Call) -> web.StreamResponse:
        account, service = call.host.split(".")[:2]
        if account != self._account.name:
            message = f"There is no storage account '{account}' in this sandbox; there is '{self._account.name}'."
            raise Fault(404, "ResourceNotFound", message)
        query = call.request.rel_url.raw_query_string
        if "sig" not in call.request.query:
            self._check_token(call, service)
            query = f"{query}&{self._full_access}" if query else self._full_access
        elif service == "table" and not self._account.signed(call.request.query):
            raise Fault(403, "AuthenticationFailed", "The signature (sig) is none of this account's key.")
        body = await self._checked_body(call, service)
        return await self._backends[service].forward(call.request, query=query, body=body, drop=("authorization",))

    async def _checked_body(self, call: Call, service: str) -> bytes | None:
        """The body if it must be checked; None if it is streamed to Azurite, which checks a signature first."""
        path = call.request.path
        if service != "table" or call.request.method not in _WRITES_ENTITY or _WHOLE_TABLE.fullmatch(path):
            return None
        body = await limited_body(call.request)
        if path.endswith("/$batch"):
            return rewrite_batch(body, self._account.name)
        check_entity(body)
        return body

    def _check_token(self, call: Call, service: str) -> None:
        audiences = (*STORAGE_AUDIENCES, f"https://{self._account.host(service)}")
        try:
            self._issuer.bearer(call.request.headers.get("Authorization", ""), audiences)
        except Fault as fault:
            authority = f"https://login.microsoftonline.com/{TENANT}/oauth2/authorize"
            fault.headers["WWW-Authenticate"] = (
                f"Bearer authorization_uri={authority} resource_id=https://storage.azure.com"
            )
            raise


def azurite_script(tools: Path) -> Path:
    """The path of Azurite's entry point, as installed by npm, in the tools folder."""
    return tools / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def _fault(fault: Fault) -> web.Response:
    """An error of Storage: the code in a header, and the body of the table service, which all its clients read."""
    body = {"odata.error": {"code": fault.code, "message": {"lang": "en-US", "value": fault.message}}}
    headers = fault.headers | {"x-ms-error-code": fault.code}
    return web.json_response(body, status=fault.status, headers=headers)
