"""Azure Container Registry: ARM control plane, `*.azurecr.io`, and a stand-in for Docker Hub."""

from sandbox.registry.events import to_event
from sandbox.registry.oci import OciImage, OciIndex
from sandbox.registry.records import Push, RegistryRecord
from sandbox.registry.service import Registries

__all__ = ["OciImage", "OciIndex", "Push", "Registries", "RegistryRecord", "to_event"]
