"""The health checks of a whole set-up, through the adapters."""

from __future__ import annotations

import socket

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueClient

from demo import scenario
from shared.bootstrap import Basegate
from shared.checks.task import TaskCheck
from shared.domain.policy import Policy
from shared.health import HealthChecks, HealthResult
from shared.settings import HINT_QUEUE, WORK_QUEUE, Settings
from tests.contract.place import VAULT_URL, Place

PATIENCE_SECONDS = 0.3


@pytest.fixture(autouse=True)
def queues(place: Place) -> None:
    url = f"https://{scenario.STORAGE}.queue.core.windows.net"
    for name in (WORK_QUEUE, HINT_QUEUE):
        with QueueClient(url, name, credential=place.azure.credential) as client:
            try:
                client.create_queue()
            except ResourceExistsError:
                client.clear_messages()


def health_checks(rules: Policy, timeout_seconds: float = 8) -> HealthChecks:
    app = Basegate(Settings(storage_account=scenario.STORAGE, key_vault=VAULT_URL))
    app.policy = rules
    return HealthChecks(app.services, timeout_seconds)


def by_name(results: list[HealthResult]) -> dict[str, HealthResult]:
    """The results but that of the sweep: no timer runs here."""
    return {result.dependency: result for result in results if result.dependency != "sweep"}


def without_proxy_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _self, _seconds: None)


def test_a_set_up_that_is_right_is_ready(place: Place) -> None:
    found = by_name(health_checks(place.rules).run())
    assert {result.state for result in found.values()} == {"ok"}
    assert {
        "clock",
        "poison queues",
        "task hello-world of contoso.azurecr.io",
        "container group hello-world-aci",
    } <= set(found)


def test_what_the_rules_name_and_nobody_made_is_told_with_what_to_do(place: Place) -> None:
    gate = place.rules.gates["node"]
    checks = (TaskCheck(registry="base", task="no-such-task"),)
    public = msgspec.structs.replace(place.public, credentials="registry-nowhere")
    rules = msgspec.structs.replace(
        place.rules,
        gates={"node": msgspec.structs.replace(gate, checks=checks)},
        registries={**place.rules.registries, "public": public},
    )
    found = by_name(health_checks(rules).run())
    sick = {name: (one.state, one.cause) for name, one in found.items() if one.state != "ok"}
    assert sick == {
        "secrets registry-nowhere-user and -password": ("misconfigured", "secret"),
        "task no-such-task of contosobaseartifacts.azurecr.io": ("misconfigured", "task"),
    }
    assert all("create it" in found[name].remedy for name in sick)


def test_a_network_that_lets_nothing_through_is_told_as_such(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxy_to(monkeypatch, 9)
    found = by_name(health_checks(place.rules).run())
    del found["signing key"]  # none is set: there is nothing to reach
    assert {(result.state, result.cause) for result in found.values()} == {("unavailable", "network")}
    assert all("firewall" in result.remedy for result in found.values())


def test_a_network_that_swallows_everything_does_not_hold_up_the_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        without_proxy_to(monkeypatch, silent.getsockname()[1])
        registries = {
            name: msgspec.structs.replace(rule, server=rule.login_server)
            for name, rule in place.rules.registries.items()
        }
        patient = health_checks(msgspec.structs.replace(place.rules, registries=registries), PATIENCE_SECONDS)
        results = [result for result in patient.run() if result.dependency != "signing key"]  # none is set
        assert {result.state for result in results} == {"slow"}
        assert {result.detail for result in results} == {"no answer within 0 s"}
        asked = {name: reading for name, reading in patient._running.items() if name != "signing key"}
        patient.run()
        assert asked.items() <= patient._running.items()
    for reading in asked.values():  # the silent listener is gone: those that hang on it learn so
        reading.result(timeout=30)
