"""Azure Container Instances on a real container engine: groups with their own address, logs, restarts and updates."""

from sandbox.containers.backoff import Backoff
from sandbox.containers.service import ContainerGroups

__all__ = ["Backoff", "ContainerGroups"]
