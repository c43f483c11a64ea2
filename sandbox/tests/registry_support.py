"""What the registry tests share: images of a few bytes, running registries, skopeo, tokens."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azure.identity import DefaultAzureCredential
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.instance import SUBSCRIPTION
from sandbox.registry import Registries
from sandbox.tests.live import LiveGateway

GROUP = "team-rg"


@contextmanager
def running_registries(live: LiveGateway) -> Iterator[Registries]:
    """The service, mounted and started."""
    service = Registries(live.instance, live.issuer, live.gateway, live.operations, live.index)
    service.mount(live.arm)
    for surface in service.surfaces():
        live.gateway.add(surface)
    live.run(service.start())
    try:
        yield service
    finally:
        live.run(service.stop())


@contextmanager
def arm_client() -> Iterator[ContainerRegistryManagementClient]:
    """The real management client with the real credential."""
    with DefaultAzureCredential() as credential, ContainerRegistryManagementClient(credential, SUBSCRIPTION) as client:
        yield client


def make(
    arm: ContainerRegistryManagementClient, name: str, *, admin: bool = False, anonymous: bool = False
) -> m.Registry:
    """Create a registry."""
    properties = m.RegistryProperties(admin_user_enabled=admin, anonymous_pull_enabled=anonymous)
    body = m.Registry(location="eastus", sku=m.Sku(name="Standard"), properties=properties)
    return arm.registries.begin_create(GROUP, name, body).result()


def make_token(arm: ContainerRegistryManagementClient, registry: str, name: str, scope_map: str) -> str:
    """The first password of a new token."""
    record = arm.registries.get(GROUP, registry)
    properties = m.TokenProperties(scope_map_id=f"{record.id}/scopeMaps/{scope_map}", status="enabled")
    token = arm.tokens.begin_create(GROUP, registry, name, m.Token(properties=properties)).result()
    asked = m.GenerateCredentialsParameters(token_id=token.id)
    made = arm.registries.begin_generate_credentials(GROUP, registry, asked).result()
    assert made.username == name
    assert made.passwords
    return str(made.passwords[0].value)


def skopeo(*arguments: str, auth: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run skopeo with a file of logins of its own."""
    extra = ["--authfile", str(auth)] if auth else []
    command = ["skopeo", arguments[0], *extra, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
