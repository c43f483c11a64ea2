"""`sandbox.testing`: one sandbox, and all that a test can ask of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueClient

from sandbox.testing import FaultSettings, ProcessKind, Sandbox, SandboxError, unavailable, until

APP = Path(__file__).parent / "apps" / "sample"
README = Path(__file__).parents[1] / "README.md"

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    if reason := unavailable():
        pytest.skip(reason)
    with Sandbox(tmp_path_factory.mktemp("azure")) as sandbox, pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        yield sandbox


def test_the_readmes_test_passes(azure: Sandbox) -> None:
    block = re.search(r"    def test_a_message_is_received\(azure\):\n((?:        .*\n)+)", README.read_text())
    assert block
    lines = [line.removeprefix("        ") for line in block[1].splitlines()]
    exec("\n".join(lines), {"DefaultAzureCredential": DefaultAzureCredential, "QueueClient": QueueClient})


def test_a_running_sandbox_says_where_it_is_and_is_not_started_twice(azure: Sandbox) -> None:
    health = azure.request("GET", "/health")
    assert (health["status"], health["warnings"]) == ("ready", [])
    assert "Function apps, registries, git and Azurite run as " in health["rights"]
    assert "Containers run as root: rootless podman gives them no address" in health["rights"]
    assert azure.environment["HTTPS_PROXY"] == azure.url
    assert azure.pid in azure.processes(ProcessKind.SANDBOX)
    with pytest.raises(SandboxError, match="runs already"):
        azure.start()
    with pytest.raises(SandboxError, match="NotInSandbox"):
        azure.request("GET", "/nothing")


def test_a_repository_is_made_and_an_app_is_served(azure: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("hello")
    assert azure.create_repository("contoso/pages", tmp_path) == "https://github.com/contoso/pages.git"
    settings = {"JOBS": "jobs", "SWEEP": "0 0 0 1 1 *", "Store__accountName": "basegatestore", "NOTES": str(tmp_path)}
    started = azure.start_site("sample", APP, settings, workers=1)
    assert started.pid in azure.processes(ProcessKind.HOST)
    worker = azure.site("sample").workers[0].pid
    assert azure.processes(ProcessKind.WORKER) == [worker]
    os.kill(worker, signal.SIGKILL)
    assert until(lambda: [pid for pid in azure.processes(ProcessKind.WORKER) if pid != worker])
    assert "Ready on" in azure.log("site-sample")
    assert [resource.name for resource in azure.resources() if resource.type == "Microsoft.Web/sites"] == ["sample"]


def test_every_process_is_found_and_a_tag_is_read_while_its_registry_is_away(azure: Sandbox) -> None:
    digest = azure.tag("hub", "library/node", "15-alpine")
    assert digest
    assert azure.tag("hub", "library/node", "16-alpine") is None
    for kind in (ProcessKind.AZURITE, ProcessKind.REGISTRY):
        killed = azure.processes(kind)
        assert killed
        os.kill(killed[0], signal.SIGKILL)
        assert azure.tag("hub", "library/node", "15-alpine") == digest
        assert until(lambda kind=kind, gone=killed[0]: set(azure.processes(kind)) - {gone})  # type: ignore[misc]


def test_faults_are_switched_on_and_off(azure: Sandbox) -> None:
    azure.deliver_events(FaultSettings(off=True))
    azure.deliver_events(FaultSettings())
    assert azure.event_counts().waiting == 0
    azure.limit_pulls(anonymous=0)
    url = "https://registry-1.docker.io/v2/library/node/manifests/15-alpine"
    token = requests.get("https://auth.docker.io/token?scope=repository:library/node:pull", timeout=10).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    until(lambda: requests.get(url, headers=headers, timeout=10).status_code == 429)
    azure.limit_pulls()
    assert requests.get(url, headers=headers, timeout=10).status_code == 200
    for throttled in (True, False):
        azure.throttle_imports("team", throttled)


def test_a_servers_certificate_is_one_that_clients_trust(azure: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = azure.server_context("127.0.0.1")
        thread = threading.Thread(target=lambda: context.wrap_socket(server.accept()[0], server_side=True).close())
        thread.start()
        trust = ssl.create_default_context(cafile=azure.environment["SSL_CERT_FILE"])
        with (
            socket.create_connection(server.getsockname()) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version()
        thread.join()


def test_its_secrets_are_not_in_its_logs(azure: Sandbox) -> None:
    secrets = azure.secrets()
    assert {"the storage account's key", "the authority's key"} < set(secrets)
    written = "".join(file.read_text(errors="replace") for file in azure.logs.iterdir())
    assert [what for what, secret in secrets.items() if secret in written] == []


def test_a_sandbox_that_does_not_run_says_so(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "nothing")
    assert sandbox.pid is None
    assert sandbox.processes(ProcessKind.AZURITE) == []
    assert not sandbox.stop()
    with pytest.raises(SandboxError, match="no sandbox runs"):
        print(sandbox.environment)
    assert not sandbox.erase()


def test_waiting_ends_with_what_is_seen_or_with_an_error() -> None:
    seen = iter(["", "", "here"])
    assert until(lambda: next(seen)) == "here"
    with pytest.raises(TimeoutError, match=r"0\.1 s"):
        until(lambda: None, seconds=0.1)
