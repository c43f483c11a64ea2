"""Every call of an adapter to Azure is over within a minute, whatever the service does, and sleeps for no one."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import requests
import urllib3
from azure.core.credentials import AccessToken, AccessTokenInfo

from shared.adapters.containers_aci import AciContainerRunner
from shared.adapters.ledger_tables import TableLedger
from shared.adapters.listeners.topic import Topic
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.signing_keyvault import VaultSigner
from shared.adapters.storage import BlobArchive, StorageWorkQueue
from shared.adapters.subscriptions_eventgrid import EventGridSubscriptions
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.bootstrap import credential
from shared.domain.errors import Retry
from shared.domain.image import ImageRef, Repository
from shared.domain.outcome import Outcome
from shared.domain.policy import HealthRule
from shared.domain.record import WorkItem
from shared.domain.rollout import AppRecord
from shared.domain.targets.aci import AciRule
from shared.ports import Artifact
from tests.fakes import digest, sample_policy

MINUTE = 60.0
POLICY = sample_policy()
BASE = POLICY.registries["base"]
DEPLOY = AciRule(name="g", resource_group="rg", subscription="s", health=HealthRule(path="/"))
RECORD = Artifact(media_type="application/json", content=b"{}")
OUTCOME = Outcome(name="promoted", subject="node", data={})
TOPIC = {"BASEGATE_ANNOUNCE_TOPIC": "https://t.eventgrid.azure.net"}
SOURCE = ImageRef("publicregistry.azurecr.io", Repository("node"), digest("orange"))


class Credential:
    """A token for everything, at once."""

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken("a token", int(time.time()) + 3600)

    def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
        return AccessTokenInfo("a token", int(time.time()) + 3600)


class Wire:
    """What the SDKs send through; adds up how long a service that says nothing could keep them, and their sleeps."""

    def __init__(self, answer: Callable[[], requests.Response] | None) -> None:
        self._answer = answer
        self.requests, self.seconds, self.slept = 0, 0.0, 0.0

    def request(self, _method: str, _url: str, **options: Any) -> requests.Response:
        self.requests += 1
        if self._answer:
            return self._answer()
        self.seconds += sum(options["timeout"])
        raise requests.exceptions.ReadTimeout("no answer")

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def slow_down() -> requests.Response:
    """What a service answers that asks for a pause of five minutes."""
    response = requests.Response()
    response.status_code, response.url, response.reason = 503, "https://there/", "Service Unavailable"
    response.headers["Retry-After"], response.headers["Content-Length"] = "300", "0"
    response.raw = urllib3.HTTPResponse(BytesIO(), status=503, preload_content=False)
    return response


def vault() -> VaultCredentials:
    return VaultCredentials("https://v.vault.azure.net", Credential)


CALLS: dict[str, Callable[[], object]] = {
    "open the table": lambda: TableLedger("https://x.table.core.windows.net", Credential).insert(AppRecord(app="a")),
    "queue": lambda: StorageWorkQueue("https://x.queue.core.windows.net", Credential).send(WorkItem("a", "b", "c"), 0),
    "check queues": lambda: StorageWorkQueue("https://x.queue.core.windows.net", Credential).check(),
    "keep": lambda: BlobArchive("https://x.blob.core.windows.net", Credential).store("name", "text"),
    "read a secret": lambda: vault().read("name"),
    "read all secrets": lambda: vault().values(),
    "read a tag": lambda: AcrRegistry(Credential, vault()).tag_state(BASE, "node", "15-alpine"),
    "move a tag": lambda: AcrRegistry(Credential, vault()).point(BASE, "node", "15-alpine", SOURCE.digest),
    "attach": lambda: AcrRegistry(Credential, vault()).attach(BASE, "node", SOURCE.digest, RECORD),
    "sign": lambda: VaultSigner("https://v.vault.azure.net/keys/k", Credential).sign(bytes(32)),
    "copy": lambda: AcrRegistry(Credential, vault()).start_copy(SOURCE, POLICY.registries["public"], BASE, "node:1"),
    "read the status of a copy": lambda: AcrRegistry(Credential, vault()).copy_status(
        BASE, "https://management.azure.com/o"
    ),
    "start a run": lambda: AcrTaskRunner(Credential, vault()).start(BASE, "task", {}, "mark"),
    "read a run": lambda: AcrTaskRunner(Credential, vault()).get(BASE, "cb1"),
    "read a log": lambda: AcrTaskRunner(Credential, vault()).log(BASE, "cb1", 1000),
    "read a group": lambda: AciContainerRunner(Credential, vault()).get(DEPLOY),
    "delete a group": lambda: AciContainerRunner(Credential, vault()).delete(DEPLOY),
    "list subscriptions": lambda: EventGridSubscriptions(Credential).delivers_to_app(BASE),
    "announce": lambda: Topic(TOPIC, Credential, str).announce(OUTCOME),
}


def calling(wire: Wire, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.Session, "request", wire.request)
    monkeypatch.setattr(time, "sleep", wire.sleep)
    with pytest.raises(Retry):
        CALLS[call]()


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_says_nothing_keeps_a_call_for_less_than_a_minute(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(None)
    calling(wire, call, monkeypatch)
    assert wire.requests in (1, 2)
    assert wire.seconds + wire.slept < MINUTE


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_asks_for_a_pause_is_asked_once_and_nothing_sleeps(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(slow_down)
    calling(wire, call, monkeypatch)
    assert (wire.requests, wire.slept) == (1, 0.0)


@pytest.mark.parametrize("call", ["open the table", "queue", "read a secret", "read a run"])
def test_an_identity_that_says_nothing_keeps_a_call_for_less_than_a_minute(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("IDENTITY_ENDPOINT", "http://localhost/msi"), ("IDENTITY_HEADER", "h"), ("PATH", "")):
        monkeypatch.setenv(name, value)
    identity: Any = credential.__wrapped__()
    monkeypatch.setattr(Credential, "get_token", lambda _, *scopes, **options: identity.get_token(*scopes))
    monkeypatch.setattr(Credential, "get_token_info", lambda _, *scopes, **options: identity.get_token_info(*scopes))
    wire = Wire(None)
    calling(wire, call, monkeypatch)
    assert 0 < wire.seconds + wire.slept < MINUTE
