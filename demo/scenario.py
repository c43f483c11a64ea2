"""The names of the reference scenario, as in Microsoft's article."""

from __future__ import annotations

from pathlib import Path

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
LOCATION = "eastus"

PUBLIC, BASE, TEAM = "publicregistry", "contosobaseartifacts", "contoso"
VAULT, VAULT_GROUP = "acr-task-credentials", "acr-task-credentials-rg"
CONTAINER_GROUP, CONTAINER_GROUP_RG = "hello-world-aci", "hello-world-aci-rg"
APP, APP_GROUP = "basegate", "basegate-rg"
STORAGE = "basegatestore"
TOPIC, OUTCOMES = "basegate-outcomes", "basegate-outcomes"

STABLE = "15-alpine"
OWNER = "contoso"
BASE_IMAGE_NODE, IMPORT_BASEIMAGE_NODE, HELLO_WORLD = "base-image-node", "import-baseimage-node", "hello-world"

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
GATES, GATES_WITH_SCAN = Path("demo") / "gates.yaml", Path("demo") / "gates-with-scan.yaml"


def registry_id(name: str) -> str:
    """The ARM id of one of the three registries."""
    return f"{group_id(f'{name}-rg')}/providers/Microsoft.ContainerRegistry/registries/{name}"


def group_id(name: str) -> str:
    """The ARM id of a resource group."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"


def topic_id() -> str:
    """The ARM id of the custom topic for outcomes."""
    return f"{group_id(APP_GROUP)}/providers/Microsoft.EventGrid/topics/{TOPIC}"


def storage_id() -> str:
    """The ARM id of the app's storage account."""
    return f"{group_id(APP_GROUP)}/providers/Microsoft.Storage/storageAccounts/{STORAGE}"


def repository_url(name: str) -> str:
    """A sample's Git repository."""
    return f"https://github.com/{OWNER}/{name}.git"
