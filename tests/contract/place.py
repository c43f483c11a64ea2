"""The scenario in a sandbox, and the hands of the tests: push an image, make a task, wait."""

from __future__ import annotations

import base64
import tempfile
from io import BytesIO
from pathlib import Path

import requests
from azure.containerregistry import ContainerRegistryClient
from azure.core.credentials import TokenCredential
from azure.keyvault.secrets import SecretClient

from demo import scenario
from demo.azure import Azure
from demo.provision import Provisioning
from sandbox.testing import Manifest, OciImage, OciIndex, Sandbox
from shared.domain.image import Digest, parse_digest
from shared.domain.policy import Policy, RegistryRule
from shared.rules import parse_gates

VAULT_URL = f"https://{scenario.VAULT}.vault.azure.net"
_DOCKER_TYPES = ", ".join(f"application/vnd.docker.distribution.manifest.{kind}+json" for kind in ("v2", "list.v2"))


class Place:
    """The scenario's registries, vault, secrets, tasks and topic; `rules` are the story's own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.azure = Azure()
        self.rules: Policy = parse_gates((scenario.ROOT / scenario.GATES).read_text(), scenario.GATES.name)
        self._clients: dict[str, ContainerRegistryClient] = {}

    @property
    def public(self) -> RegistryRule:
        return self.rules.registries["public"]

    @property
    def base(self) -> RegistryRule:
        return self.rules.registries["base"]

    @property
    def team(self) -> RegistryRule:
        return self.rules.registries["team"]

    def credential(self) -> TokenCredential:
        """The app's identity, as `shared.bootstrap` hands it to the adapters."""
        return self.azure.credential

    def provision(self) -> None:
        """Make the scenario's resources."""
        provisioning = Provisioning(self.azure)
        provisioning.foundations(lambda _: None)
        provisioning.tasks(lambda _: None)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.azure.close()

    def registry(self, rule: RegistryRule) -> ContainerRegistryClient:
        """Somebody else's client of a registry: a maintainer's."""
        if rule.name not in self._clients:
            self._clients[rule.name] = ContainerRegistryClient(f"https://{rule.login_server}", self.azure.credential)
        return self._clients[rule.name]

    def refresh_token(self, rule: RegistryRule) -> str:
        """What `az acr login --expose-token` prints."""
        token = self.azure.credential.get_token("https://containerregistry.azure.net/.default").token
        asked = {"grant_type": "access_token", "service": rule.login_server, "access_token": token}
        answer = requests.post(f"https://{rule.login_server}/oauth2/exchange", data=asked, timeout=10)
        return str(answer.json()["refresh_token"])

    def push(self, rule: RegistryRule, repository: str, tag: str | None, image: OciImage | OciIndex) -> Digest:
        """Push an image with all its platforms; returns its digest."""
        client = self.registry(rule)
        for part in image.images if isinstance(image, OciIndex) else (image,):
            for content, _ in part.blobs:
                client.upload_blob(repository, BytesIO(content))
            if part is not image:
                _put(client, repository, None, part.manifest)
        return _put(client, repository, tag, image.manifest)

    def manifest(self, rule: RegistryRule, repository: str, reference: str) -> bytes:
        """The bytes under a tag or digest."""
        raw: list[bytes] = []
        self.registry(rule).get_manifest(
            repository, reference, raw_response_hook=lambda response: raw.append(response.http_response.body())
        )
        return raw[-1]

    def hub_digest(self, repository: str, tag: str) -> Digest:
        """The digest of a tag of Docker Hub's stand-in, asked for as anyone may."""
        scope = {"service": "registry.docker.io", "scope": f"repository:{repository}:pull"}
        token = requests.get("https://auth.docker.io/token", params=scope, timeout=10).json()["token"]
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        headers = {"Authorization": f"Bearer {token}", "Accept": f"{accept}, {_DOCKER_TYPES}"}
        url = f"https://registry-1.docker.io/v2/{repository}/manifests/{tag}"
        return parse_digest(requests.head(url, headers=headers, timeout=10).headers["Docker-Content-Digest"])

    def tags(self, rule: RegistryRule, repository: str) -> list[str]:
        return [str(tag.name) for tag in self.registry(rule).list_tag_properties(repository)]

    def set_secrets(self, **values: str) -> None:
        """Set secrets, `_` written for `-`."""
        with SecretClient(VAULT_URL, self.azure.credential) as client:
            for name, value in values.items():
                client.set_secret(name.replace("_", "-"), value)

    def make_task(self, rule: RegistryRule, name: str, text: str) -> None:
        """A task whose task file is given with it."""
        step = {"type": "EncodedTask", "encodedTaskContent": base64.b64encode(text.encode()).decode()}
        properties = {"platform": {"os": "Linux", "architecture": "amd64"}, "step": step}
        body = {"location": scenario.LOCATION, "properties": properties}
        self.azure.put(f"{rule.id}/tasks/{name}", body, "2025-03-01-preview")

    def make_app_task(self, name: str) -> None:
        """A task of the base registry that builds the app `<name>-app`, with nothing in it but its base."""
        source = Path(tempfile.mkdtemp(prefix="bg-app-"))
        (source / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
        image = f"{{{{.Run.Registry}}}}/{name}-app:{{{{.Run.ID}}}}"
        build = f"--build-arg BASE_IMAGE={{{{.Values.BASE_IMAGE}}}} -t {image} -f Dockerfile ."
        steps = f'version: v1.1.0\nsteps:\n  - build: {build}\n  - push: ["{image}"]\n'
        (source / "acr-task.yaml").write_text(steps)
        self.sandbox.create_repository(f"{scenario.OWNER}/{name}", source)
        context = f"{scenario.repository_url(name)}#main"
        step = {"type": "FileTask", "taskFilePath": "acr-task.yaml", "contextPath": context}
        properties = {"platform": {"os": "Linux", "architecture": "amd64"}, "step": step}
        body = {"location": scenario.LOCATION, "properties": properties}
        self.azure.put(f"{self.base.id}/tasks/{name}-app", body, "2025-03-01-preview")

    def make_identity(self, group: str, name: str) -> str:
        """A user-assigned identity; returns its id."""
        identity = f"{scenario.group_id(group)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        self.azure.put(identity, {"location": scenario.LOCATION}, "2023-01-31")
        return identity


def _put(client: ContainerRegistryClient, repository: str, tag: str | None, manifest: Manifest) -> Digest:
    body = BytesIO(manifest.body)
    return parse_digest(client.set_manifest(repository, body, tag=tag, media_type=manifest.media_type))
