"""One sandbox, as tests use it."""

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
    """The processes of a sandbox that a test can kill. Each but the sandbox itself is started again by it."""

    WORKER = "app's worker"
    HOST = "Functions host"
    AZURITE = "Azurite"
    REGISTRY = "registry"
    SANDBOX = "sandbox itself"


class Sandbox:
    """One instance in a folder of its own; several run side by side.

    A `with` statement starts it, and stops it at its end. The folder stays: a later start continues with it.

    Args:
        folder: holds everything that it writes; one that is empty, or not there, is a fresh start.
        time_scale: divides Azure's long waits: Event Grid's retries, the time that a task run may take.
    """

    def __init__(self, folder: Path, *, time_scale: float = 1.0) -> None:
        self._instance, self._time_scale = Instance(folder.resolve()), time_scale

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def root(self) -> Path:
        """Its folder."""
        return self._instance.root

    @property
    def logs(self) -> Path:
        """The folder of its logs, one file a service: `sandbox`, `azurite`, `registry-NAME`, `site-NAME`."""
        return self._instance.logs

    @property
    def key(self) -> str:
        """What is in the names of its networks and containers, and of no other instance's."""
        return self._instance.key

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return lifecycle.running_pid(self._instance)

    @property
    def url(self) -> str:
        """Where its own operations answer, and its clients' HTTPS proxy."""
        return f"http://127.0.0.1:{read_settings(self._instance).port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment so that the Azure SDKs, `az`, podman, skopeo and git find it.

        Raises:
            SandboxError: it does not run.
        """
        return lifecycle.client_environment(self._instance)

    def start(self) -> None:
        """Start it, on the port that it had before, and return when everything is ready.

        Raises:
            SandboxError: it runs already, or does not start; shows the end of its log.
        """
        lifecycle.start(self._instance, replace(read_settings(self._instance), time_scale=self._time_scale))

    def stop(self) -> bool:
        """Stop it with every process and container of its; False where it did not run.

        Raises:
            SandboxError: it does not end.
        """
        return lifecycle.stop(self._instance)

    def erase(self) -> bool:
        """Stop it and delete its folder; False where it did not run. Raises as `stop`."""
        ran = self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
        return ran

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The JSON answer of one of its own operations (COVERAGE.md, "Sandbox").

        Raises:
            SandboxError: it refuses, or does not answer; says why.
        """
        answer: Any = lifecycle.control(self._instance, method, path, body, answer=object, seconds=_ANSWER_SECONDS)
        return answer

    def resources(self) -> Sequence[Listed]:
        """The resources in it, each with its type, group, name and address. Raises as `request`."""
        return lifecycle.resources(self._instance)

    def create_repository(self, name: str, source: Path) -> str:
        """Make the Git repository `OWNER/NAME`, a folder's files its first commit, unless it is there; returns its URL.

        Raises as `request`.
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
        """Serve a Functions app, in place of one of that name.

        Args:
            name: the site; it answers as `NAME.azurewebsites.net` too.
            app: the folder with `function_app.py`.
            settings: the app's settings.
            workers: worker processes; None is one.
            lease_seconds: how long a queue message stays hidden whose host is killed; None is ten minutes, as in Azure.

        Raises:
            SandboxError: the app cannot be served; shows the end of its log.
        """
        asked = {"app": str(app), "settings": dict(settings), "workers": workers, "lease_seconds": lease_seconds}
        return lifecycle.control(
            self._instance, "PUT", f"/sites/{name}", asked, answer=SiteView, seconds=_START_OF_APP_SECONDS
        )

    def site(self, name: str) -> SiteView:
        """A running site, its processes and keys included. Raises as `request`."""
        return lifecycle.control(self._instance, "GET", f"/sites/{name}", answer=SiteView)

    def deliver_events(self, settings: FaultSettings) -> None:
        """Deliver events so from now on, those that wait included; a restart ends it.

        `FaultSettings()` delivers all, `FaultSettings(off=True)` none: every endpoint counts as a stopped app, and
        events are dropped and never come later. Raises as `request`.
        """
        switch_events(self._instance, settings)

    def event_counts(self) -> EventCounts:
        """What became of the events since the start. Raises as `request`."""
        return event_counts(self._instance)

    def throttle_imports(self, registry: str, throttled: bool) -> None:
        """Answer importImage into a registry with 429 from now on, or stop doing so. Raises as `request`."""
        self.request("PUT", f"/registries/{registry}/imports", {"throttled": throttled})

    def limit_pulls(self, **limits: int) -> None:
        """Limit pulls from Docker Hub: `anonymous`, `account`, `window_seconds`; without arguments, to its own limits.

        Raises as `request`.
        """
        self.request("PUT", "/dockerhub/limits", limits)

    def log(self, name: str, lines: int = 40) -> str:
        """The last lines of a log.

        Raises:
            SandboxError: there is none of that name; names those there are.
        """
        return lifecycle.log_end(self._instance, name, lines)

    def tag(self, registry: str, repository: str, tag: str) -> str | None:
        """The digest that a tag points at, or None: read from the registry's files, also while its process is away."""
        content = Layout(self.root / "registry" / "data" / registry.lower() / "content")
        entry = content.tag(repository, tag)
        return entry.digest if entry else None

    def server_context(self, name: str) -> ssl.SSLContext:
        """For a server of the test's own under a host name or address: its clients trust this certificate."""
        return Authority(self._instance.folder("ca")).server_context(name)

    def secrets(self) -> dict[str, str]:
        """Every secret that it made for itself, by what it is: none may turn up in a log or an answer."""
        account = open_account(read_settings(self._instance).storage_account, self.root / "storage" / "account.key")
        return {
            "the storage account's key": account.key,
            "the storage account's SAS": account.full_access().partition("sig=")[2],
            "the authority's key": (self.root / "ca" / "ca.key").read_text().splitlines()[1],
            **{f"secrets/{file.name}": file.read_text() for file in (self.root / "secrets").iterdir()},
        }

    def processes(self, kind: ProcessKind) -> list[int]:
        """The ids of its processes of a kind, in order; none while it does not run."""
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
    """Why no sandbox can run on this machine now, as a reason to skip a test; None where one can."""
    lacking = [need.name for need in missing(Machine())]
    if lacking or os.geteuid() != 0:
        problem = f"{', '.join(lacking)} is missing" if lacking else "this process is not root"
        return f"no sandbox can run here ({problem}): make setup, and run as root"
    return None


def install_needs(say: Callable[[str], None]) -> None:
    """Install what a sandbox needs on this machine, saying what; nothing where all is there.

    Raises:
        NeedError: something is missing, or too old, and cannot be installed.
    """
    ensure(lifecycle.TOOLS, say=say)


def until(poll: Callable[[], T | None], seconds: float = 30.0) -> T:
    """What `poll` gives as soon as it gives something.

    Raises:
        TimeoutError: it gives nothing in that time.
    """
    deadline = time.monotonic() + seconds
    while not (seen := poll()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to pass within {seconds:g} s")
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
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        if command:  # a zombie has none
            yield _Process(int(folder.name), parent, command)
