"""One sandbox, for use in tests."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from msgspec.structs import replace

from sandbox import lifecycle
from sandbox.authority import Authority
from sandbox.control import Listed
from sandbox.eventgrid import FaultSettings
from sandbox.events import EventCounts, event_counts, switch_events
from sandbox.instance import Instance, read_settings
from sandbox.needs import Machine, ensure, missing
from sandbox.registry.layout import Layout
from sandbox.sites import SiteView
from sandbox.storage.account import open_account

T = TypeVar("T")

_ANSWER_SECONDS = 60.0
_START_OF_APP_SECONDS = 150.0


class ProcessKind(StrEnum):
    """The processes of a sandbox that a test can kill. The sandbox restarts each of them but itself."""

    WORKER = "app's worker"
    HOST = "Functions host"
    AZURITE = "Azurite"
    REGISTRY = "registry"
    SANDBOX = "sandbox itself"


class Sandbox:
    """One instance in its own folder; several run side by side.

    A `with` statement starts it, and stops it at its end. The folder is kept: a later start continues from it.

    Args:
        folder: everything that it writes; if empty or missing, the instance is new.
        time_scale: divides Azure's long delays: Event Grid's retries, the time limit of a task run.
        user: who runs what needs no root; None is the user behind sudo, who must be able to reach the folder.
    """

    def __init__(self, folder: Path, *, time_scale: float = 1.0, user: str | None = None) -> None:
        self._instance, self._time_scale, self._user = Instance(folder.resolve()), time_scale, user

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def root(self) -> Path:
        """The folder of the instance."""
        return self._instance.root

    @property
    def logs(self) -> Path:
        """The folder of its logs, one file per service: `sandbox`, `azurite`, `registry-NAME`, `site-NAME`."""
        return self._instance.logs

    @property
    def key(self) -> str:
        """The part of the names of its networks and containers that no other instance has."""
        return self._instance.key

    @property
    def pid(self) -> int | None:
        """The daemon's process id; None if it does not run."""
        return lifecycle.running_pid(self._instance)

    @property
    def url(self) -> str:
        """The URL of its gateway, the HTTPS proxy of its clients."""
        return f"http://127.0.0.1:{read_settings(self._instance).port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which the Azure SDKs, `az`, podman, skopeo and git reach it.

        Raises:
            SandboxError: it does not run.
        """
        return lifecycle.client_environment(self._instance)

    def start(self) -> None:
        """Start it, on its previous port, and return when everything is ready.

        Raises:
            SandboxError: it runs already, or does not start; includes the end of its log.
        """
        settings = replace(read_settings(self._instance), time_scale=self._time_scale, user=self._user)
        lifecycle.start(self._instance, settings)

    def stop(self) -> bool:
        """Stop it with all its processes and containers; False if it did not run.

        Raises:
            SandboxError: it does not exit.
        """
        return lifecycle.stop(self._instance)

    def erase(self) -> bool:
        """Stop it and delete its folder; False if it did not run. Raises like `stop`."""
        ran = self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
        return ran

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Call one of its own operations (COVERAGE.md, "Sandbox"); returns the JSON response.

        Raises:
            SandboxError: it refuses, or does not respond; includes the reason.
        """
        answer: Any = lifecycle.control(self._instance, method, path, body, answer=object, seconds=_ANSWER_SECONDS)
        return answer

    def resources(self) -> Sequence[Listed]:
        """Its resources, each with type, group, name and address. Raises like `request`."""
        return lifecycle.resources(self._instance)

    def create_repository(self, name: str, source: Path) -> str:
        """Create the Git repository `OWNER/NAME` with a folder's files as first commit, if missing; returns its URL.

        Raises like `request`.
        """
        return str(self.request("PUT", f"/git/{name}", {"source": str(source)})["url"])

    def start_site(
        self,
        name: str,
        app: Path,
        settings: Mapping[str, str],
        *,
        workers: int | None = None,
        lease_seconds: float | None = None,
    ) -> SiteView:
        """Serve a Functions app, replacing one with that name.

        Args:
            name: the site; it is served as `NAME.azurewebsites.net` too.
            app: the folder with `function_app.py`.
            settings: the app's settings.
            workers: the number of worker processes; None is one.
            lease_seconds: how long a message stays hidden after its host was killed; None is ten minutes, as in Azure.

        Raises:
            SandboxError: the app cannot be served; includes the end of its log.
        """
        body = {"app": str(app), "settings": dict(settings), "workers": workers, "lease_seconds": lease_seconds}
        return lifecycle.control(
            self._instance, "PUT", f"/sites/{name}", body, answer=SiteView, seconds=_START_OF_APP_SECONDS
        )

    def site(self, name: str) -> SiteView:
        """A running site, with its processes and keys. Raises like `request`."""
        return lifecycle.control(self._instance, "GET", f"/sites/{name}", answer=SiteView)

    def deliver_events(self, settings: FaultSettings) -> None:
        """Set how events are delivered from now on, waiting ones included; a restart resets it.

        `FaultSettings()` delivers all, `FaultSettings(off=True)` none: every endpoint counts as a stopped app, and
        events are dropped and never sent later. Raises like `request`.
        """
        switch_events(self._instance, settings)

    def event_counts(self) -> EventCounts:
        """The number of events since the start, by their fate. Raises like `request`."""
        return event_counts(self._instance)

    def throttle_imports(self, registry: str, throttled: bool) -> None:
        """Return 429 for importImage into a registry from now on, or stop doing so. Raises like `request`."""
        self.request("PUT", f"/registries/{registry}/imports", {"throttled": throttled})

    def limit_pulls(self, **limits: int) -> None:
        """Limit pulls from Docker Hub: `anonymous`, `account`, `window_seconds`; defaults are its own limits.

        Raises like `request`.
        """
        self.request("PUT", "/dockerhub/limits", limits)

    def log(self, name: str, lines: int = 40) -> str:
        """The last lines of a log.

        Raises:
            SandboxError: there is no log of that name; the text lists the existing ones.
        """
        return lifecycle.log_end(self._instance, name, lines)

    def tag(self, registry: str, repository: str, tag: str) -> str | None:
        """The digest that a tag points to, or None: read from the registry's files, also while its process is down."""
        content = Layout(self.root / "registry" / "data" / registry.lower() / "content")
        entry = content.tag(repository, tag)
        return entry.digest if entry else None

    def server_context(self, name: str) -> ssl.SSLContext:
        """The TLS context of a test's own server under a host name or address; the sandbox's clients trust it."""
        return Authority(self._instance.folder("ca")).server_context(name)

    def secrets(self) -> dict[str, str]:
        """Every secret that it generated for itself, by description: none may appear in a log or a response."""
        account = open_account(read_settings(self._instance).storage_account, self.root / "storage" / "account.key")
        return {
            "the storage account's key": account.key,
            "the storage account's SAS": account.full_access().partition("sig=")[2],
            "the authority's key": (self.root / "ca" / "ca.key").read_text().splitlines()[1],
            **{f"secrets/{file.name}": file.read_text() for file in (self.root / "secrets").iterdir()},
        }

    def processes(self, kind: ProcessKind) -> list[int]:
        """The ids of its processes of a kind, in order; none if it does not run."""
        daemon = self.pid
        if daemon is None or kind is ProcessKind.SANDBOX:
            return [] if daemon is None else [daemon]
        there = list(_processes())
        children = [process for process in there if process.parent == daemon]
        hosts = _with(children, "sandbox.host")
        if kind is ProcessKind.WORKER:
            return _with([process for process in there if process.parent in hosts], "worker/start.py")
        if kind is ProcessKind.HOST:
            return hosts
        return _with(children, "azurite.js" if kind is ProcessKind.AZURITE else "docker-registry")


def unavailable() -> str | None:
    """Why no sandbox can run on this machine now, as a reason to skip a test; None if one can."""
    lacking = [need.name for need in missing(Machine())]
    if lacking or os.geteuid() != 0:
        problem = f"{', '.join(lacking)} is missing" if lacking else "this process is not root"
        return f"no sandbox can run here ({problem}): make setup, and run as root"
    return None


def install_needs(say: Callable[[str], None]) -> None:
    """Install the missing dependencies of a sandbox on this machine, and report each.

    Raises:
        NeedError: a dependency is missing or too old, and cannot be installed.
    """
    ensure(lifecycle.TOOLS, say=say)


def until(poll: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Poll until the result is truthy, and return it.

    Raises:
        TimeoutError: it is not within that time.
    """
    deadline = time.monotonic() + seconds
    while not (seen := poll()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition was not met within {seconds:g} s")
        time.sleep(0.05)
    return seen


class _Process(NamedTuple):
    pid: int
    parent: int
    command: str


def _with(processes: Sequence[_Process], part: str) -> list[int]:
    return sorted(process.pid for process in processes if part in process.command)


def _processes() -> Iterator[_Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has exited meanwhile
            continue
        if command:  # a zombie has none
            yield _Process(int(folder.name), parent, command)
