"""Prints events as they happen: runs, tags, the container, each with the seconds since the chapter began."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from azure.core.exceptions import AzureError
from rich.console import Console

from demo import scenario
from demo.client import ScenarioClient

_POLL_SECONDS = 0.4
_SHORT_DIGEST = 19


class Narrator:
    """Prints the story. While a chapter plays, a thread watches the registries and the container."""

    def __init__(self, console: Console, client: ScenarioClient) -> None:
        self._console, self._client = console, client
        self._said: dict[str, str] = {}
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """Print the heading of a chapter; times count from here."""
        self._began = time.monotonic()
        self._console.rule(f"[bold]{text}", align="left")

    def say(self, where: str, what: str) -> None:
        """Print one line: seconds, place, what happened."""
        seconds = time.monotonic() - self._began
        self._console.print(f"{seconds:6.1f}s  [cyan]{where:<22}[/] {what}", highlight=False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in a thread until the block ends."""
        end = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(end,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            end.set()
            watcher.join(10)

    def learn(self) -> None:
        """Record the current state, so that only changes are printed."""
        self._poll(lambda where, what: None)

    def _watch(self, end: threading.Event) -> None:
        while not end.wait(_POLL_SECONDS):
            with suppress(AzureError):  # a failed poll is not part of the story
                self._poll(self.say)

    def _poll(self, say: Callable[[str, str], None]) -> None:
        for registry in (scenario.PUBLIC, scenario.BASE, scenario.TEAM):
            for run in reversed(self._client.runs(registry)):
                self._tell(f"run {registry}/{run['runId']}", registry, _run_line(run), say)
        digest = self._client.stable_digest()
        if digest:
            self._tell("stable", scenario.BASE, f"node:{scenario.STABLE} is {digest[:_SHORT_DIGEST]}…", say)
        group = self._client.container_group()
        if group:
            container = group["properties"]["containers"][0]
            image = short_image(container["properties"]["image"])
            state = (container["properties"].get("instanceView") or {}).get("currentState", {}).get("state", "Waiting")
            self._tell("group", scenario.CONTAINER_GROUP, f"{image} {state.lower()}", say)

    def _tell(self, topic: str, where: str, what: str, say: Callable[[str, str], None]) -> None:
        if self._said.get(topic) != what:
            self._said[topic] = what
            say(where, what)


def short_image(image: str) -> str:
    """An image without its registry, with the first digits of its digest."""
    name, _, digest = image.rpartition("/")[2].partition("@")
    return f"{name}@{digest[:_SHORT_DIGEST]}" if digest else name


def _run_line(run: dict[str, Any]) -> str:
    colour = {"Succeeded": "green", "Failed": "red"}.get(run["status"], "yellow")
    return f"task {run.get('task')} run {run['runId']} [{colour}]{run['status'].lower()}[/]"
