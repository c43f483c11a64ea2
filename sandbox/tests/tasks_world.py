"""ACR Tasks on a live gateway, with fakes for the services around it and a runner that remembers what it was given."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient

from sandbox.arm.surface import ResourceId
from sandbox.git import GitHub
from sandbox.instance import SUBSCRIPTION
from sandbox.tasks.outcome import ImageDependency, ImageReference, RunInfo, RunOutcome, RunStatus
from sandbox.tasks.service import Services, Tasks
from sandbox.tasks.taskfile.model import TaskFile
from sandbox.tests.live import LiveGateway
from sandbox.tests.tasks_blobs import MemoryStorage
from sandbox.web import Fault

GROUP, REGISTRY = "contoso-rg", "contoso"
CONTEXT = "https://github.com/contoso/app.git#main"
VAULT = "https://vault1.vault.azure.net/secrets"
BASE = ImageReference("base.azurecr.io", "node", "15-alpine", "sha256:" + "1" * 64)
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u1"
)


@dataclass(frozen=True)
class FakeRegistry:
    name: str
    location: str = "eastus"

    @property
    def id(self) -> str:
        return str(ResourceId(f"{self.name}-rg", "Microsoft.ContainerRegistry", "registries", self.name))

    @property
    def login_server(self) -> str:
        return f"{self.name}.azurecr.io"


class FakeRegistries:
    def __init__(self) -> None:
        self.known = [FakeRegistry(name) for name in ("contoso", "base")]

    def find(self, name_or_login_server: str) -> FakeRegistry | None:
        name = name_or_login_server.lower()
        return next((one for one in self.known if name in (one.name, one.login_server)), None)

    def issue_login(self, login_server: str, *, actor: str, repositories: object) -> tuple[str, str]:
        return actor, f"password-of-{login_server}"


class FakeVaults:
    def __init__(self) -> None:
        self.readers: set[str | None] = set()
        self.secrets = {f"{VAULT}/user": "puller", f"{VAULT}/password": "pa55word"}

    def read(self, secret_url: str, *, principal_id: str | None = None) -> str:
        self.readers.add(principal_id)
        if secret_url not in self.secrets:
            raise Fault(404, "SecretNotFound", f"There is no secret {secret_url}.")
        return self.secrets[secret_url]


@dataclass
class Ran:
    """What the runner was given."""

    task: TaskFile
    run: RunInfo
    files: list[str]


@dataclass
class FakeRunner:
    outcome: RunOutcome = field(
        default_factory=lambda: RunOutcome(RunStatus.SUCCEEDED, dependencies=(ImageDependency(None, BASE),))
    )
    ran: list[Ran] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    active: int = 0
    most_active: int = 0

    async def run(
        self, task: TaskFile, context: Path, run: RunInfo, log: Callable[[str], Awaitable[None]]
    ) -> RunOutcome:
        self.ran.append(Ran(task, run, sorted(path.name for path in context.iterdir())))
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        await log("Launching container with name: validate")
        outcome = await self._outcome(run)
        self.active -= 1
        failure = f"failed. Error: {outcome.error}" if outcome.error else "was successful"
        await log(f"Run ID: {run.id} {failure}")
        return outcome

    async def _outcome(self, run: RunInfo) -> RunOutcome:
        try:
            async with asyncio.timeout(run.timeout_seconds):
                await self.held.wait()
        except TimeoutError:
            return RunOutcome(RunStatus.TIMEOUT, "the run did not end within its timeout")
        except asyncio.CancelledError:
            return RunOutcome(RunStatus.CANCELED, "canceled")
        return self.outcome


@dataclass(frozen=True)
class FakeIdentity:
    client_id: str = "client-1"
    principal_id: str = "principal-1"


class FakeClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 11, 59, 50, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


@dataclass(frozen=True)
class FakePush:
    registry: str = "base"
    repository: str = "node"
    tag: str | None = "15-alpine"
    digest: str = "sha256:" + "2" * 64
    action: str = "push"
    user_agent: str = "docker/24"
    timestamp: datetime = datetime(2026, 1, 1, tzinfo=UTC)


TASK_FILE = f"""
version: v1.1.0
secrets:
  - id: token
    keyvault: {VAULT}/password
steps:
  - id: say
    cmd: "app {{{{.Values.FROM}}}} {{{{.Values.COLOR}}}} {{{{.Values.TAG}}}} {{{{.Run.ID}}}}"
    env: ["KEY={{{{.Values.KEY}}}}", "TOKEN={{{{.Secrets.token}}}}"]
"""


class World:
    """A gateway with tasks on it, and fakes around them."""

    def __init__(self, live: LiveGateway, source: Path) -> None:
        self.live, self.runner, self.clock, self.registries = live, FakeRunner(), FakeClock(), FakeRegistries()
        self.storage, self.vaults = MemoryStorage(), FakeVaults()
        self.github = GitHub(live.instance.folder("git"), live.issuer.identity_header)
        live.gateway.add(self.storage.surface())
        live.gateway.add(self.github.surface())
        live.run(self.github.create("contoso/app", source))
        self.tasks = self.build()
        self.tasks.mount(live.arm)
        live.run(self.tasks.start())
        credential = ManagedIdentityCredential()
        # Its models say None of every property; the tests look at what is there.
        self.client: Any = ContainerRegistryTasksMgmtClient(credential, SUBSCRIPTION)

    def build(self, **options: Any) -> Tasks:
        services = Services(
            registries=self.registries,
            vaults=self.vaults,
            storage=self.storage,
            repositories=self.github,
            runner=self.runner,
            session=self.live.gateway.outside,
            find_identity=lambda name: FakeIdentity() if name == IDENTITY else None,
            clock=self.clock,
        )
        return Tasks(self.live.instance.folder("tasks"), services, **options)

    def create(self, name: str = "build-app", **properties: Any) -> Any:
        body = {
            "location": "eastus",
            "identity": {"type": "SystemAssigned"},
            "properties": task_properties(**properties),
        }
        return self.client.tasks.create(GROUP, REGISTRY, name, body)

    def run(self, task: str = "build-app", **overrides: Any) -> Any:
        request: dict[str, Any] = {"type": "TaskRunRequest", "taskId": f"{FakeRegistry(REGISTRY).id}/tasks/{task}"}
        if overrides:
            request["overrideTaskStepProperties"] = overrides
        return self.client.registries.schedule_run(GROUP, REGISTRY, request)

    def release(self) -> None:
        self.live.loop.call_soon_threadsafe(self.runner.held.set)

    def ended(self, run_id: str) -> Any:
        return self.wait(run_id, lambda run: run.finish_time is not None)

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait(self, run_id: str, until: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + 10
        while True:
            run = self.client.runs.get(GROUP, REGISTRY, run_id).properties
            if until(run):
                return run
            assert time.monotonic() < deadline, f"{run_id} is {run.status}: {run.run_error_message}"
            time.sleep(0.02)

    def runs(self, **options: Any) -> list[str]:
        return [run.properties.run_id for run in self.client.runs.list(GROUP, REGISTRY, **options)]

    def first_run(self) -> str:
        self.until(lambda: bool(self.runs()))
        return self.runs()[-1]

    def log(self, run_id: str) -> str:
        link = self.client.runs.get_log_sas_url(GROUP, REGISTRY, run_id).log_link
        with urllib.request.build_opener().open(link) as answer:  # a new one, for this test's proxy
            return str(answer.read(), "utf-8")

    def close(self) -> None:
        self.client.close()
        self.release()
        self.live.run(self.tasks.stop())


def task_properties(**changes: Any) -> dict[str, Any]:
    step: dict[str, Any] = {"type": "FileTask", "taskFilePath": "acr-task.yaml", "valuesFilePath": "values.yaml"}
    step["contextPath"] = CONTEXT
    step["values"] = [{"name": "FROM", "value": "base/"}, {"name": "KEY", "value": "s3cret", "isSecret": True}]
    trigger = {
        "sourceTriggers": [
            {
                "name": "commits",
                "sourceRepository": {
                    "sourceControlType": "Github",
                    "repositoryUrl": CONTEXT,
                    "branch": "main",
                    "sourceControlAuthProperties": {"token": "t0ken", "tokenType": "PAT", "scope": "repo"},
                },
                "sourceTriggerEvents": ["commit"],
                "status": "Enabled",
            }
        ],
        "baseImageTrigger": {"name": "base", "baseImageTriggerType": "Runtime", "status": "Enabled"},
    }
    return {"platform": {"os": "linux"}, "step": step, "trigger": trigger, **changes}


@pytest.fixture
def world(live: LiveGateway, tmp_path: Path) -> Iterator[World]:
    source = tmp_path / "source"
    source.mkdir()
    (source / "acr-task.yaml").write_text(TASK_FILE)
    (source / "values.yaml").write_text("FROM: file/\nCOLOR: Green\nTAG: latest\n")
    made = World(live, source)
    yield made
    made.close()
