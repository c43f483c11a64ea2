"""The six automatic chapters: what is pushed, and the expected result."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from demo import scenario
from demo.client import moment
from demo.runner import ChapterResult, ChapterRunner, expect

_COLOUR_LINE = re.compile(r"(?m)^ENV BACKGROUND_COLOR=.*$")


class Chapters:
    """Plays the chapters in order, one method each."""

    def __init__(self, runner: ChapterRunner) -> None:
        self._runner, self._client, self._narrator = runner, runner.client, runner.narrator
        self.before_commit: Callable[[int], None] = lambda chapter: None
        self.after_commit: Callable[[int], None] = lambda chapter: None

    def all(self) -> list[Callable[[], ChapterResult]]:
        """The chapters in order."""
        return [self.first_push, self.orange, self.red, self.green, self.app_commit, self.sick_app]

    def first_push(self) -> ChapterResult:
        """(1) The first push upstream reaches the page."""
        return self._to_the_page(1, "First push: the page shows its colour", "DeepSkyBlue", self._run_public_task)

    def orange(self) -> ChapterResult:
        """(2) A questionable change passes."""
        return self._to_the_page(
            2, "Orange upstream: the page follows without an operator", "Orange", lambda: self.paint("Orange")
        )

    def red(self) -> ChapterResult:
        """(3) A bad change is stopped."""
        title = "Red upstream: stopped by the functional test"
        began, since = self._begin(3, title)
        before, page = self._client.stable_digest(), self._client.page()
        with self._narrator.watching():
            self.paint("Red")
            event = self._runner.outcome("CandidateFailed", since)
        seconds, data = time.monotonic() - began, event["data"]
        line = next((line for line in data["logTail"] if "ERROR" in line), "")
        self._narrator.say("basegate", f"[red]refused:[/] {line or data['reason']}")
        expect("Invalid Color" in line, f"the log line of the failed test, not {data['logTail']}")
        expect(self._client.stable_digest() == before, "the stable tag to stay where it was")
        expect(self._client.page().colour == page.colour, "the page to stay as it was")
        return self._runner.tell(3, title, "stopped", seconds, reason=line)

    def green(self) -> ChapterResult:
        """(4) A good change reaches the page."""
        return self._to_the_page(4, "Green upstream: all the way to the page", "Green", lambda: self.paint("Green"))

    def app_commit(self) -> ChapterResult:
        """(5) A commit to the app is built on the last validated base."""
        title = "A commit to hello-world: built on the last validated base"
        began, since = self._begin(5, title)
        with self._narrator.watching():
            self._runner.edit_app("Hello World", "Hello again", "Greet once more")
            self._runner.see_text("Hello again")
            seconds = time.monotonic() - began
            self._runner.outcome("RolloutLive", since)
        page = self._client.page()
        expect(page.colour == "Green", f"a green page, not {page.colour or page.status}")
        return self._runner.tell(5, title, "live", seconds)

    def sick_app(self) -> ChapterResult:
        """(6) An app that starts but returns 500 is rolled back."""
        title = "A hello-world that returns 500: put back to the last good one"
        began, since = self._begin(6, title)
        good = self._runner.image()
        with self._narrator.watching():
            self._runner.edit_app("const STATUS = 200", "const STATUS = 500", "Break the page")
            event = self._runner.outcome("RolloutRestored", since)
            self._runner.see_text("Hello again")
        seconds, page = time.monotonic() - began, self._client.page()
        self._narrator.say("basegate", f"[yellow]put back:[/] {event['data']['reason']}")
        expect(page.status == 200 and page.colour == "Green", f"a green page, not {page.colour or page.status}")
        expect(self._runner.image() == good, f"the last good image {good}, not {self._runner.image()}")
        return self._runner.tell(6, title, "put back", seconds, reason=str(event["data"]["reason"]))

    def paint(self, colour: str) -> None:
        """Commit a change of the upstream image's colour."""
        self._client.commit(
            scenario.BASE_IMAGE_NODE, "Dockerfile", lambda text: painted(text, colour), f"Paint it {colour}"
        )
        self._narrator.say("github.com", f"pushed to {scenario.BASE_IMAGE_NODE}: {_colour_line(colour)}")

    def _to_the_page(self, number: int, title: str, colour: str, act: Callable[[], None]) -> ChapterResult:
        """Play a change upstream that must reach the page."""
        began, since = self._begin(number, title)
        started_at = datetime.now(UTC)
        with self._narrator.watching():
            act()
            self.after_commit(number)
            self._runner.see_colour(colour)
            seconds = time.monotonic() - began
            seen_at = datetime.now(UTC)
            self._narrator.say("page", f"[green]{colour}[/] after {seconds:.1f} s")
            self._runner.outcome("RolloutLive", since)
        expect(bool(self._client.unique_tags(self._client.stable_digest())), "a unique tag beside the stable one")
        return self._runner.tell(number, title, "live", seconds, own=self._own_seconds(seconds, started_at, seen_at))

    def _begin(self, number: int, title: str) -> tuple[float, int]:
        self.before_commit(number)
        return self._runner.begin(number, title)

    def _run_public_task(self) -> None:
        run = self._client.run_task(scenario.PUBLIC, "node-public")
        self._narrator.say(scenario.PUBLIC, f"started run {run} of node-public by hand")

    def _own_seconds(self, total: float, started_at: datetime, seen_at: datetime) -> float:
        """The seconds without those of the task runs and of the start of the container."""
        foreign = 0.0
        for registry in (scenario.PUBLIC, scenario.BASE, scenario.TEAM):
            for run in self._client.runs(registry):
                if moment(run["createTime"]) >= started_at and run.get("finishTime"):
                    foreign += (moment(run["finishTime"]) - moment(run["createTime"])).total_seconds()
        return max(0.0, total - foreign - self._start_seconds(seen_at))

    def _start_seconds(self, seen_at: datetime) -> float:
        """The seconds from the pull of the image to the page."""
        group = self._client.container_group() or {"properties": {"containers": [{"properties": {}}]}}
        view = group["properties"]["containers"][0]["properties"].get("instanceView") or {}
        pulls = [moment(event["firstTimestamp"]) for event in view.get("events") or [] if event["name"] == "Pulling"]
        return (seen_at - max(pulls)).total_seconds() if pulls else 0.0


def painted(dockerfile: str, colour: str) -> str:
    """The upstream image's Dockerfile with another colour."""
    return _COLOUR_LINE.sub(_colour_line(colour), dockerfile)


def _colour_line(colour: str) -> str:
    return f"ENV BACKGROUND_COLOR={colour}"
