"""The stand-in for Docker Hub: `docker.io` with its own token service, from which anyone may pull.

Source: https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

from sandbox.registry.auth import RegistryAuth
from sandbox.registry.front import DistributionApi
from sandbox.registry.registry import Realm
from sandbox.web import Surface, registry_fault

HUB = "hub"
HUB_HOSTS = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"))
HUB_REALM = Realm("https://auth.docker.io/token", "registry.docker.io", listing="pull")


def hub_surfaces(api: DistributionApi, auth: RegistryAuth) -> list[Surface]:
    """The registry's surface and the token service's."""
    registry = Surface("Docker Hub", r"(registry-1\.|index\.)?docker\.io", render=registry_fault)
    api.mount(registry)
    tokens = Surface("Docker Hub tokens", r"auth\.docker\.io", render=registry_fault)
    auth.mount(tokens, "/token")
    return [registry, tokens]
