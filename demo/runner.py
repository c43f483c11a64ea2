"""Runs chapters: each has a beginning, outcomes to wait for, and a result."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from demo import scenario
from demo.client import Page, ScenarioClient, StoryError
from demo.command_line import CommandLine
from demo.narrator import Narrator
from demo.outcomes import Outcomes

PATIENCE_SECONDS = 90.0
_BASE_SECONDS = 20.0


class ChapterResult(msgspec.Struct, frozen=True, kw_only=True):
    """One chapter as it was played, for the table and the report.

    `seconds` run from the commit to the result of the chapter; `own_seconds` are those without the task
    runs and the start of the container: Basegate's own waiting and bookkeeping.
    """

    chapter: int
    title: str
    outcome: str
    seconds: float
    own_seconds: float | None = None
    colour: str = ""
    stable_digest: str = ""
    unique_tags: list[str] = []
    image: str = ""
    base: str = ""
    reason: str = ""


class ChapterRunner:
    """Begins and ends chapters, with a client of the scenario and a narrator."""

    def __init__(self, client: ScenarioClient, outcomes: Outcomes, narrator: Narrator, basegate: CommandLine) -> None:
        self.client, self.outcomes, self.narrator, self.basegate = client, outcomes, narrator, basegate

    def begin(self, number: int, title: str) -> tuple[float, int]:
        """Begin a chapter; returns the time, and how many outcomes were received before."""
        self.outcomes.listen()
        self.narrator.learn()
        self.narrator.title(f"Chapter {number}. {title}")
        return time.monotonic(), len(self.outcomes.heard)

    def outcome(self, name: str, since: int) -> dict[str, Any]:
        """Wait for the first event `Basegate.<name>` after the first `since`, and return it."""
        return self.client.wait(f"Basegate.{name}", lambda: self.outcomes.find(name, since), PATIENCE_SECONDS)

    def see_colour(self, colour: str) -> None:
        """Wait until the page has a colour."""
        self.client.wait(f"a page in {colour}", lambda: self.client.page().colour == colour, PATIENCE_SECONDS)

    def see_text(self, text: str) -> None:
        """Wait until the page is healthy and contains a text."""

        def poll() -> Page | None:
            page = self.client.page()
            return page if page.status == 200 and text in page.text else None

        self.client.wait(f"a page with the text {text!r}", poll, PATIENCE_SECONDS)

    def edit_app(self, old: str, new: str, message: str) -> None:
        """Commit a change to hello-world."""
        self.client.commit(scenario.HELLO_WORLD, "server.js", lambda text: text.replace(old, new), message)
        self.narrator.say("github.com", f"pushed to {scenario.HELLO_WORLD}: {message}")

    def image(self) -> str:
        """The image that the container group runs, "" if it does not exist yet."""
        group = self.client.container_group()
        return str(group["properties"]["containers"][0]["properties"]["image"]) if group else ""

    def base(self) -> str:
        """The base image of the app, once the page and Basegate show the same one.

        Raises:
            StoryError: they differ for longer than a rollout takes.
        """

        def shown(command: str) -> str:
            return str(self.basegate.read(command)["apps"][0]["base"])

        def agreed() -> str:
            page = self.client.page().base
            return page if set(commands.map(shown, ("status", "drift"))) == {page} else ""

        with ThreadPoolExecutor() as commands:
            return self.client.wait("status and drift to name the base that the page names", agreed, _BASE_SECONDS)

    def tell(
        self, number: int, title: str, outcome: str, seconds: float, *, own: float | None = None, reason: str = ""
    ) -> ChapterResult:
        """The result of a chapter, with the current state of the scenario."""
        stable = self.client.stable_digest()
        return ChapterResult(
            chapter=number,
            title=title,
            outcome=outcome,
            seconds=round(seconds, 2),
            own_seconds=None if own is None else round(own, 2),
            colour=self.client.page().colour,
            stable_digest=stable,
            unique_tags=self.client.unique_tags(stable),
            image=self.image(),
            base=self.base(),
            reason=reason,
        )


def expect(condition: bool, what: str) -> None:
    """Raise `StoryError` if a condition of the story does not hold."""
    if not condition:
        raise StoryError(f"expected {what}")
