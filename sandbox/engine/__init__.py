"""Containers: builds, pushes and task containers in one store per run, container groups in a persistent store."""

from __future__ import annotations

from sandbox.engine.contract import (
    BaseImage,
    ContainerHost,
    ContainerState,
    Engine,
    EngineError,
    HostedContainer,
    ImageBuild,
    Login,
    Output,
    Pushed,
    RunContainer,
    RunStore,
)
from sandbox.engine.podman import Podman

__all__ = [
    "BaseImage",
    "ContainerHost",
    "ContainerState",
    "Engine",
    "EngineError",
    "HostedContainer",
    "ImageBuild",
    "Login",
    "Output",
    "Podman",
    "Pushed",
    "RunContainer",
    "RunStore",
]
