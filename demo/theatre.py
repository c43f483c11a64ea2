"""The house: a sandbox of its own, the scenario in it, and the app started there."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from demo import scenario
from demo.around_the_gate import SWEEP_SECONDS
from demo.azure import Azure
from demo.command_line import CommandLine
from demo.provision import Provisioning
from demo.stage import StoryError
from sandbox import lifecycle
from sandbox.eventgrid.faults import FaultSettings
from sandbox.events import OFF, ON, switch_events
from sandbox.instance import Instance, Settings, read_settings
from sandbox.needs import ensure

Say = Callable[[str], None]

_DELIVERIES = {"on": ON, "off": OFF, "lossy": FaultSettings(drop=0.3, duplicate=0.3, shuffle_seconds=3.0, seed=7)}


class Theatre:
    """One sandbox instance with the scenario in it.

    `settings` of the app add to the story's, or replace them; `lease_seconds` is how long a queue message stays hidden
    whose host is killed (None: as in Azure, ten minutes).
    """

    def __init__(
        self, state: Path, settings: Mapping[str, str] | None = None, lease_seconds: float | None = None
    ) -> None:
        self.instance = Instance(state.resolve())
        self._settings, self._lease_seconds = dict(settings or {}), lease_seconds
        self.site: dict[str, Any] = {}

    def open(self, say: Say, *, workers: int = 1) -> None:
        """Start an empty sandbox, provision the scenario, start the app and let events reach it."""
        ensure(lifecycle.TOOLS, say=say)
        if lifecycle.stop(self.instance):
            say("stopped the sandbox of an earlier run")
        shutil.rmtree(self.instance.root, ignore_errors=True)
        lifecycle.start(self.instance, Settings())
        say(f"sandbox at http://127.0.0.1:{read_settings(self.instance).port}")
        os.environ.update(lifecycle.client_environment(self.instance))
        for name in (scenario.BASE_IMAGE_NODE, scenario.IMPORT_BASEIMAGE_NODE, scenario.HELLO_WORLD):
            self._local("PUT", f"/git/{scenario.OWNER}/{name}", {"source": str(scenario.SAMPLES / name)})
            say(f"repository {scenario.repository_url(name)}")
        azure = Azure()
        try:
            provisioning = Provisioning(azure)
            provisioning.foundations(say)
            provisioning.tasks(say)
            self.start_app(say, workers)
            provisioning.subscriptions(say)
        finally:
            azure.close()

    def is_open(self) -> bool:
        """Whether it runs already."""
        return lifecycle.running_pid(self.instance) is not None

    def enter(self) -> None:
        """Take part in one that runs already."""
        os.environ.update(lifecycle.client_environment(self.instance))
        self.site = self._local("GET", f"/sites/{scenario.APP}")

    def start_app(self, say: Say, workers: int = 1) -> None:
        """Start the app on the sandbox's Functions host, in place of one that runs."""
        settings = {
            "AzureWebJobsStorage__accountName": scenario.STORAGE,
            "BASEGATE_KEY_VAULT": f"https://{scenario.VAULT}.vault.azure.net",
            "BASEGATE_GATES": str(scenario.GATES),
            "BASEGATE_SWEEP_SCHEDULE": f"*/{SWEEP_SECONDS} * * * * *",
            "BASEGATE_ANNOUNCE_TOPIC": f"https://{scenario.TOPIC}.{scenario.LOCATION}-1.eventgrid.azure.net/api/events",
        }
        body: dict[str, Any] = {"app": str(scenario.ROOT), "settings": settings | self._settings, "workers": workers}
        if self._lease_seconds is not None:
            body["lease_seconds"] = self._lease_seconds
        self.site = self._local("PUT", f"/sites/{scenario.APP}", body)
        say(f"app {scenario.APP}.azurewebsites.net")

    def worker_pids(self) -> list[int]:
        """The process ids of the app's workers."""
        return [int(worker["pid"]) for worker in self._local("GET", f"/sites/{scenario.APP}")["workers"]]

    def command_line(self) -> CommandLine:
        """The operators' command line, directed at the app."""
        return CommandLine(f"http://127.0.0.1:{self.site['port']}", str(self.site["hostKey"]))

    def deliver_events(self, mode: str) -> None:
        """Let events reach the app (`on`), none of them (`off`), or some, some twice, and in no order (`lossy`)."""
        switch_events(self.instance, _DELIVERIES[mode])

    def close(self) -> bool:
        """Stop the sandbox and everything in it; False where none was running."""
        return lifecycle.stop(self.instance)

    def _local(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One of the sandbox's own operations."""
        url = f"http://127.0.0.1:{read_settings(self.instance).port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (our own loopback port)
                result: dict[str, Any] = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            with error:
                raise StoryError(f"{method} {path}: {error.read().decode(errors='replace')[:1000]}") from error
