"""What a person in the scenario can do and see: commit, run a task, view the page, tags and runs."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from azure.containerregistry import ContainerRegistryClient
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from demo import scenario
from demo.azure import Azure

T = TypeVar("T")

_TASKS, _ACI, _ACR = "2025-03-01-preview", "2023-05-01", "2025-11-01"
_BASE = re.compile(r'<dd id="base">([^<]+)</dd>')
_COLOUR = re.compile(r"background(?:-color)?:\s*([A-Za-z]+)")
_PAGE_TIMEOUT_SECONDS = 0.5
_POLL_SECONDS = 0.1


class StoryError(Exception):
    """Something that the story waits for does not happen; the text states what and where to look."""


class Page:
    """The page of the deployed app: HTTP status (0: no response), text, and the colour and the base image in it.

    `base` is "unknown" if the page names no digest: a build not started by Basegate uses the tag's current digest.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        match = _COLOUR.search(text)
        self.colour = match[1] if match and status == 200 else ""
        base = _BASE.search(text)
        self.base = base[1] if base and "@" in base[1] else "unknown"


class ScenarioClient:
    """The scenario from outside, through the interfaces of Azure and Git."""

    def __init__(self, azure: Azure) -> None:
        self._azure = azure
        self._base = ContainerRegistryClient(f"https://{scenario.BASE}.azurecr.io", azure.credential)
        self._address = ""

    def close(self) -> None:
        """Close the connections."""
        self._base.close()

    def commit(self, repository: str, file: str, change: Callable[[str], str], message: str) -> None:
        """Clone a repository, change one file, commit and push, with the real git; the environment signs it in."""
        with tempfile.TemporaryDirectory(prefix="basegate-commit-") as folder:
            _git("clone", "--quiet", "--depth", "1", scenario.repository_url(repository), folder)
            path = Path(folder) / file
            before = path.read_text()
            after = change(before)
            if after == before:
                raise StoryError(f"the change to {repository}/{file} changes nothing")
            path.write_text(after)
            author = ("-c", "user.name=A maintainer", "-c", "user.email=maintainer@example.com")
            _git("-C", folder, *author, "commit", "--quiet", "--all", "--message", message)
            _git("-C", folder, "push", "--quiet", "origin", "HEAD:main")

    def run_task(self, registry: str, task: str) -> str:
        """Run a task manually, and return the run's id."""
        scope = scenario.registry_id(registry)
        body = {"type": "TaskRunRequest", "taskId": f"{scope}/tasks/{task}"}
        run = self._azure.post(f"{scope}/scheduleRun", _TASKS, body)
        return str(run["properties"]["runId"])

    def runs(self, registry: str) -> list[dict[str, Any]]:
        """The runs of a registry's tasks, the newest first."""
        answer = self._azure.get(f"{scenario.registry_id(registry)}/runs", _TASKS)
        return [run["properties"] for run in answer["value"]]

    def container_group(self) -> dict[str, Any] | None:
        """The app's container group, or None if it does not exist yet."""
        try:
            return dict(self._azure.get(_group_path(), _ACI))
        except HttpResponseError as error:
            if error.status_code == 404:
                return None
            raise

    def address(self) -> str:
        """The page's address, "" if it has none yet."""
        if not self._address:
            group = self.container_group()
            ip = ((group or {}).get("properties", {}).get("ipAddress") or {}).get("ip")
            self._address = f"http://{ip}/" if ip else ""
        return self._address

    def page(self) -> Page:
        """The current page."""
        address = self.address()
        if not address:
            return Page(0, "")
        try:
            with urllib.request.urlopen(address, timeout=_PAGE_TIMEOUT_SECONDS) as answer:  # noqa: S310 (our container)
                return Page(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return Page(error.code, error.read().decode(errors="replace"))
        except OSError:
            return Page(0, "")

    def stable_digest(self) -> str:
        """The digest that the stable tag of the base registry points to, "" if it does not exist yet."""
        try:
            return str(self._base.get_tag_properties("node", scenario.STABLE).digest)
        except ResourceNotFoundError:
            return ""

    def unique_tags(self, digest: str) -> list[str]:
        """The unique tags of a digest in the base registry."""
        try:
            tags = list(self._base.list_tag_properties("node"))
        except ResourceNotFoundError:
            return []
        return sorted(tag.name for tag in tags if tag.digest == digest and tag.name != scenario.STABLE)

    def import_around_the_gate(self, digest: str) -> None:
        """Force an upstream image under the stable tag, as someone with rights on the registry can.

        A sweep may restore the tag before this returns.
        """
        body = {
            "source": {"resourceId": scenario.registry_id(scenario.PUBLIC), "sourceImage": f"node@{digest}"},
            "targetTags": [f"node:{scenario.STABLE}"],
            "mode": "Force",
        }
        self._azure.post(f"{scenario.registry_id(scenario.BASE)}/importImage", _ACR, body)

    def stop_container_group(self) -> None:
        """Stop the app's container group. A sweep may start it again before this returns."""
        self._azure.post(f"{_group_path()}/stop", _ACI)

    def wait(self, what: str, poll: Callable[[], T | None], seconds: float) -> T:
        """Poll until the result is truthy, and return it.

        Raises:
            StoryError: it is not within the time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = poll()
            if seen:
                return seen
            time.sleep(_POLL_SECONDS)
        raise StoryError(f"timed out after {seconds:.0f} s waiting for {what}")


def _group_path() -> str:
    group = scenario.group_id(scenario.CONTAINER_GROUP_RG)
    return f"{group}/providers/Microsoft.ContainerInstance/containerGroups/{scenario.CONTAINER_GROUP}"


def moment(text: str) -> datetime:
    """A time in ARM's format."""
    return datetime.fromisoformat(text)


def _git(*arguments: str) -> None:
    done = subprocess.run(("git", *arguments), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise StoryError(f"git {arguments[0]} failed: {done.stderr.strip()[-300:]}")
