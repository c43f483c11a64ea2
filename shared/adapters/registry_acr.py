"""Azure Container Registry: tags and locks through its data plane, copies through its importImage operation."""

import json
import time
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import Any

from azure.containerregistry import ArtifactTagOrder, ContainerRegistryClient
from azure.core.rest import HttpRequest
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry.models import ImportImageParameters, ImportSource, ImportSourceCredentials

from shared.adapters.artifacts_acr import add_layer, attach, put, read
from shared.adapters.azure_calls import DEADLINES, Identity, expected, per_subscription, registry_id, translated
from shared.adapters.redaction import readable
from shared.domain.errors import Gone, Misconfigured
from shared.domain.image import Digest, ImageRef, parse_digest
from shared.domain.policy import RegistryRule
from shared.ports import Artifact, CopyStatus, Manifest, RunStatus, Secrets, TagPush, TagState

_PULL_ROLE = "give the app AcrPull (Container Registry Repository Reader) on the registry"
_PUSH_ROLE = "give the app AcrPush and the right to change tag metadata (Repository Writer) on the registry"
_DELETE_ROLE = "give the app AcrDelete (Container Registry Repository Contributor) on the registry"
_IMPORT_ROLE = (
    "give the app Container Registry Data Importer and Data Reader on the target registry, "
    "and on the source registry too unless the rules name credentials for it"
)
_READER_ROLE = "give the app Reader on the registry"
_RUNNING = 202
_CLIENTS, _CLIENT_SECONDS = 32, 3600.0
"""How many clients of the data plane are cached, and for how long. A client has a refresh token that is valid for three
hours, and does not renew an expired one: a client that was idle for so long could never authenticate again.
Source: https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/containerregistry/azure-containerregistry/azure/containerregistry/_exchange_client.py"""

_REFUSED = frozenset((400, 404, 409, 410, 422))


class AcrRegistry:
    """Implements the port `Registry`. Clients are created on first use, and shared by all threads."""

    def __init__(self, credential: Identity, secrets: Secrets) -> None:
        self._credential, self._secrets = credential, secrets
        self._clients = lru_cache(maxsize=_CLIENTS)(self._make_data_client)
        self._management = per_subscription(ContainerRegistryManagementClient, credential)

    def login_server(self, registry: RegistryRule) -> str:
        """The login server of a registry, read from Azure: it cannot be derived from the name.

        Source: https://learn.microsoft.com/rest/api/containerregistry/registries/get
        """
        subscription, group, name = registry_id(registry)
        missing = Misconfigured(f"there is no registry {name} in {group}", remedy="correct its id in the rules")
        with translated(f"reading registry {name}", remedy=_READER_ROLE), expected(404, instead=missing):
            return str(self._management(subscription).registries.get(group, name).login_server).lower()

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        state = self.tag_state(registry, repository, tag)
        return state.digest if state else None

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        with translated(f"reading {registry.login_server}/{repository}:{tag}", remedy=_PULL_ROLE), expected(404):
            properties = self._data(registry.login_server).get_tag_properties(repository, tag)
            locked = properties.can_write is False and properties.can_delete is False
            return TagState(parse_digest(properties.digest, f"digest of {repository}:{tag}"), locked)
        return None

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        doing = f"listing the tags of {registry.login_server}/{repository}"
        with translated(doing, remedy=_PULL_ROLE), expected(404):
            found = self._data(registry.login_server).list_tag_properties(
                repository, order_by=ArtifactTagOrder.LAST_UPDATED_ON_DESCENDING, results_per_page=min(limit, 100)
            )
            tags = islice(found, limit)
            return [TagPush(str(tag.name), parse_digest(tag.digest), tag.last_updated_on) for tag in tags]
        return []

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        subscription, group, name = registry_id(registry)
        doing = f"reading token {token} of {registry.login_server}"
        with translated(doing, remedy=_READER_ROLE), expected(403, 404):  # no role, or the user is not a token
            found = self._management(subscription).tokens.get(group, name, token)
            passwords = (found.credentials.passwords if found.credentials else None) or []
            expiries = [password.expiry for password in passwords if password.expiry is not None]
            return min((expiry for expiry in expiries if expiry > now), default=None)
        return None

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        """Begin importImage by digest, never overwriting a tag; returns the URL of the operation.

        Source: https://learn.microsoft.com/rest/api/containerregistry/registries/import-image
        """
        subscription, group, registry = registry_id(target)
        origin = self._import_source(source, source_rule)
        parameters = ImportImageParameters(source=origin, target_tags=[name], mode="NoForce")
        with translated(f"copying {source} to {target.login_server}/{name}", remedy=_IMPORT_ROLE):
            begin = self._management(subscription).registries.begin_import_image
            return str(begin(group, registry, parameters, polling=False, cls=_location).result())

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        if not operation:
            return CopyStatus(RunStatus.SUCCEEDED)
        subscription, _, _ = registry_id(target)
        with translated(f"reading the status of a copy to {target.login_server}", remedy=_IMPORT_ROLE):
            response = self._management(subscription).send_request(HttpRequest("GET", operation))
            if response.status_code == _RUNNING:
                return CopyStatus(RunStatus.RUNNING)
            if response.status_code in _REFUSED:
                return CopyStatus(RunStatus.FAILED, _rejection(response.text()))
            response.raise_for_status()
        return CopyStatus(RunStatus.SUCCEEDED)

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        client = self._data(registry.login_server)
        with translated(f"locking {registry.login_server}/{repository}:{tag}", remedy=_PUSH_ROLE):
            client.update_manifest_properties(repository, digest, can_delete=False)
            client.update_tag_properties(repository, tag, can_write=False, can_delete=False)

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        client, name = self._data(registry.login_server), f"{registry.login_server}/{repository}:{tag}"
        with translated(f"pointing {name} at {digest}", remedy=_PUSH_ROLE):
            raw: list[bytes] = []
            with expected(404, instead=Gone(f"{digest} is not in {registry.login_server}/{repository}")):
                found = client.get_manifest(
                    repository, digest, raw_response_hook=lambda response: raw.append(response.http_response.body())
                )
            client.set_manifest(repository, BytesIO(raw[-1]), tag=tag, media_type=str(found.media_type))

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        client, doing = self._data(registry.login_server), f"unlocking {registry.login_server}/{repository}:{tag}"
        with translated(doing, remedy=_PUSH_ROLE):
            with expected(404):
                client.update_tag_properties(repository, tag, can_write=True, can_delete=True)
            with expected(404):
                if digest is not None:
                    client.update_manifest_properties(repository, digest, can_delete=True)

    def attach(self, registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        doing = f"attaching {artifact.media_type} to {registry.login_server}/{repository}@{subject}"
        with translated(doing, remedy=_PUSH_ROLE):
            return attach(self._data(registry.login_server), repository, subject, artifact)

    def add_layer(self, registry: RegistryRule, repository: str, tag: str, layer: Artifact) -> None:
        doing = f"adding {layer.media_type} to {registry.login_server}/{repository}:{tag}"
        with translated(doing, remedy=_PUSH_ROLE):
            add_layer(self._data(registry.login_server), repository, tag, layer)

    def manifest(self, registry: RegistryRule, repository: str, reference: str) -> bytes | None:
        doing = f"reading {registry.login_server}/{repository}, {reference}"
        with translated(doing, remedy=_PULL_ROLE), expected(404):
            return read(self._data(registry.login_server), repository, reference)[1]
        return None

    def blob_size(self, registry: RegistryRule, repository: str, digest: Digest) -> int | None:
        """One HEAD. If that redirects to the registry's storage, the size is unknown: the app may not get there.

        Source: https://learn.microsoft.com/rest/api/containerregistry/container-registry-blob/check-blob-exists
        """
        doing = f"reading {registry.login_server}/{repository}@{digest}"
        with translated(doing, remedy=_PULL_ROLE), expected(404):
            blobs = self._data(registry.login_server)._client.container_registry_blob  # the SDK has no other HEAD
            headers: Any = blobs.check_blob_exists(repository, digest, cls=_headers, permit_redirects=False)
            size = headers.get("Content-Length")
            return int(size) if size is not None else None
        return None

    def put_blob(self, registry: RegistryRule, repository: str, content: bytes) -> None:
        with translated(f"uploading to {registry.login_server}/{repository}", remedy=_PUSH_ROLE):
            self._data(registry.login_server).upload_blob(repository, BytesIO(content))

    def put_manifest(self, registry: RegistryRule, repository: str, manifest: Manifest, tag: str) -> None:
        doing = f"pushing a referrer of {manifest.subject or tag} to {registry.login_server}/{repository}"
        with translated(doing, remedy=_PUSH_ROLE):
            put(self._data(registry.login_server), repository, manifest, tag)

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        with translated(f"removing {registry.login_server}/{repository}:{tag}", remedy=_DELETE_ROLE):
            self._data(registry.login_server).delete_tag(repository, tag)

    def _import_source(self, source: ImageRef, rule: RegistryRule) -> ImportSource:
        image = f"{source.repository}@{source.digest}"
        if rule.is_azure and not rule.credentials:
            return ImportSource(resource_id=rule.id, source_image=image)
        credentials = None  # public images, such as Docker Hub's, are pulled anonymously
        if rule.credentials:
            user, password = self._secrets.credentials(rule)
            credentials = ImportSourceCredentials(username=user, password=password)
        return ImportSource(registry_uri=source.login_server, credentials=credentials, source_image=image)

    def _data(self, login_server: str) -> ContainerRegistryClient:
        return self._clients(login_server, int(time.monotonic() // _CLIENT_SECONDS))

    def _make_data_client(self, login_server: str, _hour: int) -> ContainerRegistryClient:
        return ContainerRegistryClient(f"https://{login_server}", self._credential(), **DEADLINES)


def _location(response: Any, _body: object, _headers: object) -> str:
    """The URL of an accepted operation."""
    return str(response.http_response.headers.get("Location", ""))


def _headers(_response: object, _body: object, headers: object) -> object:
    """The headers of a response."""
    return headers


def _rejection(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:  # a gateway responded for the service
        return readable(text)
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return f"{error.get('code', '')} {readable(str(error.get('message', '')))}".strip()
