"""Containers: builds, pushes and task containers in a store a run, container groups in one that lasts."""

from __future__ import annotations

from sandbox.engine.contract import (
    ContainerHost,
    ContainerState,
    Engine,
    EngineError,
    HostedContainer,
    Login,
    Output,
    Pushed,
    RunContainer,
    RunStore,
)
from sandbox.engine.podman import Podman

__all__ = [
    "ContainerHost",
    "ContainerState",
    "Engine",
    "EngineError",
    "HostedContainer",
    "Login",
    "Output",
    "Podman",
    "Pushed",
    "RunContainer",
    "RunStore",
]
