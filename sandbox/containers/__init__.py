"""Azure Container Instances on a real container engine: groups with their own address, logs, restarts and updates."""

from sandbox.containers.pace import Pace
from sandbox.containers.service import ContainerGroups

__all__ = ["ContainerGroups", "Pace"]
