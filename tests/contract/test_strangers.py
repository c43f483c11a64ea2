"""An identity that Azure does not let in: every adapter says which role to give, and nothing about the token."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from demo import scenario
from shared.adapters.containers_aci import AciContainerRunner
from shared.adapters.ledger_tables import TableLedger
from shared.adapters.listeners.topic import Topic
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.storage import BlobArchive, StorageWorkQueue
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.domain.errors import Misconfigured, Rejected
from shared.domain.image import Digest, ImageRef, parse_repository
from shared.domain.outcome import Outcome
from shared.domain.policy import RegistryRule
from shared.domain.record import WorkItem
from shared.domain.rollout import Rollout
from tests.contract.place import VAULT_URL, Place

TOKEN = "a-token-of-another-directory"
DIGEST = Digest("sha256:" + "0" * 64)
STORAGE = f"https://{scenario.STORAGE}.{{}}.core.windows.net"
TOPIC = {"BASEGATE_ANNOUNCE_TOPIC": f"https://{scenario.TOPIC}.{scenario.LOCATION}-1.eventgrid.azure.net/api/events"}


class Stranger:
    """A credential whose tokens nobody here accepts."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(TOKEN, int(time.time()) + 3600)

    def close(self) -> None:
        """Nothing is open."""


def _registry(place: Place) -> AcrRegistry:
    return AcrRegistry(Stranger, VaultCredentials(VAULT_URL, place.credential))


def _copy(place: Place) -> object:
    source = ImageRef(place.base.login_server, parse_repository("node"), DIGEST)
    return _registry(place).start_copy(source, place.base, place.base, "node:1")


def _stem(rule: RegistryRule) -> RegistryRule:
    return RegistryRule(name=rule.name, server=rule.login_server, credentials="registry-contoso")


DEEDS: dict[str, tuple[Callable[[Place], object], str]] = {
    "ledger": (
        lambda place: TableLedger(STORAGE.format("table"), Stranger).load(Rollout, "a", "r"),
        "Storage Table Data Contributor",
    ),
    "queue": (
        lambda place: StorageWorkQueue(STORAGE.format("queue"), Stranger).send(WorkItem("rollout", "a", "r"), 0),
        "Storage Queue Data Contributor",
    ),
    "archive": (
        lambda place: BlobArchive(STORAGE.format("blob"), Stranger).store("a", "b"),
        "Storage Blob Data Contributor",
    ),
    "secrets": (
        lambda place: VaultCredentials(VAULT_URL, Stranger).credentials(_stem(place.team)),
        "Key Vault Secrets User on the vault",
    ),
    "digest": (lambda place: _registry(place).digest_of(place.base, "node", "1"), "AcrPull"),
    "point": (lambda place: _registry(place).point(place.base, "node", "1", DIGEST), "AcrPush"),
    "lock": (lambda place: _registry(place).lock(place.base, "node", "1", DIGEST), "AcrPush"),
    "copy": (_copy, "Container Registry Data Importer"),
    "task": (
        lambda place: AcrTaskRunner(Stranger, VaultCredentials(VAULT_URL, Stranger)).start(
            place.base, "base-import-node", {}, "t"
        ),
        "Container Registry Tasks Contributor",
    ),
    "runs": (
        lambda place: AcrTaskRunner(Stranger, VaultCredentials(VAULT_URL, Stranger)).find(
            place.base, "base-import-node", "t", datetime.now(UTC)
        ),
        "Container Registry Tasks Contributor",
    ),
    "containers": (
        lambda place: AciContainerRunner(Stranger, VaultCredentials(VAULT_URL, place.credential)).get(
            place.rules.apps["hello-world"].deploy  # type: ignore[arg-type]  # the story's app has one
        ),
        "Azure Container Instances Contributor",
    ),
    "announcer": (
        lambda place: Topic(TOPIC, Stranger, str).announce(Outcome(name="N", subject="s", data={})),
        "EventGrid Data Sender on the topic",
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_stranger_is_told_the_role_to_ask_for(place: Place, deed: str) -> None:
    act, role = DEEDS[deed]
    with pytest.raises((Misconfigured, Rejected), match=f"401.* To fix it: give the app .*{role}") as caught:
        act(place)
    assert TOKEN not in str(caught.value)
