"""The environment of the story: its own sandbox, with the scenario and the running app in it."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from demo import scenario
from demo.around_the_gate import SWEEP_SECONDS
from demo.azure import Azure
from demo.command_line import CommandLine
from demo.provision import Provisioning
from sandbox.testing import FaultSettings, Sandbox, SiteView, install_needs

Say = Callable[[str], None]

_BOARD_SECONDS = 10
_DELIVERIES = {
    "on": FaultSettings(),
    "off": FaultSettings(off=True),
    "lossy": FaultSettings(drop=0.3, duplicate=0.3, shuffle_seconds=3.0, seed=7),
}


class Environment:
    """One sandbox instance with the scenario in it.

    `settings` of the app add to the story's, or replace them; `lease_seconds` is how long a queue message stays hidden
    after its host was killed (None: as in Azure, ten minutes). `site` is the running app, once started or entered.
    """

    site: SiteView

    def __init__(
        self, state: Path, settings: Mapping[str, str] | None = None, lease_seconds: float | None = None
    ) -> None:
        self.instance = Sandbox(state)
        self._settings, self._lease_seconds = dict(settings or {}), lease_seconds

    def open(self, say: Say, *, workers: int = 1) -> None:
        """Start an empty sandbox, provision the scenario, start the app and subscribe it to events."""
        install_needs(say)
        if self.instance.erase():
            say("stopped the sandbox of an earlier run")
        self.instance.start()
        say(f"sandbox at {self.instance.url}")
        os.environ.update(self.instance.environment)
        for name in (scenario.BASE_IMAGE_NODE, scenario.IMPORT_BASEIMAGE_NODE, scenario.HELLO_WORLD):
            self.instance.create_repository(f"{scenario.OWNER}/{name}", scenario.SAMPLES / name)
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
        return self.instance.pid is not None

    def enter(self) -> None:
        """Connect to one that runs already."""
        os.environ.update(self.instance.environment)
        self.site = self.instance.site(scenario.APP)

    def start_app(self, say: Say, workers: int = 1, settings: Mapping[str, str] | None = None) -> None:
        """Start the app on the sandbox's Functions host, replacing a running one; further settings stay."""
        self._settings |= settings or {}
        story = {
            "AzureWebJobsStorage__accountName": scenario.STORAGE,
            "BASEGATE_KEY_VAULT": f"https://{scenario.VAULT}.vault.azure.net",
            "BASEGATE_GATES": str(scenario.GATES),
            "BASEGATE_SWEEP_SCHEDULE": f"*/{SWEEP_SECONDS} * * * * *",
            "BASEGATE_ANNOUNCE_TOPIC": f"https://{scenario.TOPIC}.{scenario.LOCATION}-1.eventgrid.azure.net/api/events",
        }
        self.site = self.instance.start_site(
            scenario.APP, scenario.ROOT, story | self._settings, workers=workers, lease_seconds=self._lease_seconds
        )
        say(f"app {scenario.APP}.azurewebsites.net")

    def worker_pids(self) -> list[int]:
        """The process ids of the app's workers."""
        return [worker.pid for worker in self.instance.site(scenario.APP).workers]

    def command_line(self) -> CommandLine:
        """The operators' command line, configured for the app, also after it was started again."""
        return CommandLine(lambda: self.site)

    def board(self, page: str) -> str:
        """The content of a page of the board, as HTML."""
        url = f"http://127.0.0.1:{self.site.port}/api/board/fragments/{page}"
        request = urllib.request.Request(url, headers={"x-functions-key": self.site.host_key})
        with urllib.request.urlopen(request, timeout=_BOARD_SECONDS) as answer:  # noqa: S310 (our app)
            return str(answer.read().decode())

    def deliver_events(self, mode: str) -> None:
        """Deliver all events to the app (`on`), none (`off`), or some, some twice, out of order (`lossy`)."""
        self.instance.deliver_events(_DELIVERIES[mode])

    def close(self) -> bool:
        """Stop the sandbox and everything in it; False if none was running."""
        return self.instance.stop()
