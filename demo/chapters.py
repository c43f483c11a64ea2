"""The six chapters: what is done, what must come of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from demo import scenario
from demo.narrator import Narrator
from demo.outcomes import Outcomes
from demo.stage import Page, Stage, StoryError, moment

_PATIENCE_SECONDS = 90.0
_COLOUR_LINE = re.compile(r"(?m)^ENV BACKGROUND_COLOR=.*$")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One chapter as it was played, for the table and the report.

    `seconds` run from the commit to what the chapter ends with; `own_seconds` is what is left of them without
    the task runs and the start of the container: Basegate's own waiting and bookkeeping.
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
    reason: str = ""


class Chapters:
    """Plays the chapters, one method each, in their order."""

    def __init__(self, stage: Stage, outcomes: Outcomes, narrator: Narrator) -> None:
        self._stage, self._outcomes, self._narrator = stage, outcomes, narrator
        self.before_commit: Callable[[int], None] = lambda chapter: None
        self.after_commit: Callable[[int], None] = lambda chapter: None

    def all(self) -> list[Callable[[], Told]]:
        """The chapters in order."""
        return [self.first_push, self.orange, self.red, self.green, self.app_commit, self.sick_app]

    def first_push(self) -> Told:
        """(1) The first push upstream travels to the page."""
        return self._to_the_page(1, "First push: the page shows its colour", "DeepSkyBlue", self._run_public_task)

    def orange(self) -> Told:
        """(2) A questionable change passes."""
        return self._to_the_page(
            2, "Orange upstream: nobody touches the page, it follows", "Orange", self._paint("Orange")
        )

    def red(self) -> Told:
        """(3) A bad change is stopped."""
        title = "Red upstream: stopped by the functional test"
        began, since = self._begin(3, title)
        before, page = self._stage.stable_digest(), self._stage.page()
        with self._narrator.watching():
            self._paint("Red")()
            event = self._stage.wait(
                "the gate to refuse Red", lambda: self._outcomes.find("CandidateFailed", since), _PATIENCE_SECONDS
            )
        seconds, data = time.monotonic() - began, event["data"]
        line = next((line for line in data["logTail"] if "ERROR" in line), "")
        self._narrator.say("basegate", f"[red]refused:[/] {line or data['reason']}")
        _expect("Invalid Color" in line, f"the log line of the failed test, not {data['logTail']}")
        _expect(self._stage.stable_digest() == before, "the stable tag to stay where it was")
        _expect(self._stage.page().colour == page.colour, "the page to stay as it was")
        return self._tell(3, title, "stopped", seconds, reason=line)

    def green(self) -> Told:
        """(4) A good change goes all the way."""
        return self._to_the_page(4, "Green upstream: all the way to the page", "Green", self._paint("Green"))

    def app_commit(self) -> Told:
        """(5) A commit to the app is built on the last validated base."""
        title = "A commit to hello-world: built on the last validated base"
        began, since = self._begin(5, title)
        with self._narrator.watching():
            self._edit_app("Hello World", "Hello again", "Greet once more")
            self._stage.wait("the new greeting", self._shows("Hello again"), _PATIENCE_SECONDS)
            seconds = time.monotonic() - began
            self._outcome("RolloutLive", since)
        page = self._stage.page()
        _expect(page.colour == "Green", f"a green page, not {page.colour or page.status}")
        return self._tell(5, title, "live", seconds)

    def sick_app(self) -> Told:
        """(6) An app that starts but answers 500 is put back."""
        title = "A hello-world that answers 500: put back to the last good one"
        began, since = self._begin(6, title)
        good = self._image()
        with self._narrator.watching():
            self._edit_app("const STATUS = 200", "const STATUS = 500", "Break the page")
            event = self._outcome("RolloutRestored", since)
            self._stage.wait("the page to be back", self._shows("Hello again"), _PATIENCE_SECONDS)
        seconds, page = time.monotonic() - began, self._stage.page()
        self._narrator.say("basegate", f"[yellow]put back:[/] {event['data']['reason']}")
        _expect(page.status == 200 and page.colour == "Green", f"a green page, not {page.colour or page.status}")
        _expect(self._image() == good, f"the last good image {good}, not {self._image()}")
        return self._tell(6, title, "put back", seconds, reason=str(event["data"]["reason"]))

    def _to_the_page(self, number: int, title: str, colour: str, act: Callable[[], None]) -> Told:
        """A change upstream that must reach the page."""
        began, since = self._begin(number, title)
        started_at = datetime.now(UTC)
        with self._narrator.watching():
            act()
            self.after_commit(number)
            self._stage.wait(f"a page in {colour}", lambda: self._stage.page().colour == colour, _PATIENCE_SECONDS)
            seconds = time.monotonic() - began
            seen_at = datetime.now(UTC)
            self._narrator.say("page", f"[green]{colour}[/] after {seconds:.1f} s")
            self._outcome("RolloutLive", since)
        _expect(bool(self._stage.unique_tags(self._stage.stable_digest())), "a unique tag beside the stable one")
        return self._tell(number, title, "live", seconds, own=self._own_seconds(seconds, started_at, seen_at))

    def _begin(self, number: int, title: str) -> tuple[float, int]:
        self._outcomes.listen()
        self._narrator.learn()
        self._narrator.title(f"Chapter {number}. {title}")
        self.before_commit(number)
        return time.monotonic(), len(self._outcomes.heard)

    def _outcome(self, name: str, since: int) -> dict[str, Any]:
        return self._stage.wait(f"Basegate.{name}", lambda: self._outcomes.find(name, since), _PATIENCE_SECONDS)

    def _run_public_task(self) -> None:
        run = self._stage.run_task(scenario.PUBLIC, "node-public")
        self._narrator.say(scenario.PUBLIC, f"started run {run} of node-public by hand")

    def _paint(self, colour: str) -> Callable[[], None]:
        def paint() -> None:
            line = f"ENV BACKGROUND_COLOR={colour}"
            self._stage.commit(
                scenario.BASE_IMAGE_NODE, "Dockerfile", lambda text: _COLOUR_LINE.sub(line, text), f"Paint it {colour}"
            )
            self._narrator.say("github.com", f"pushed to {scenario.BASE_IMAGE_NODE}: {line}")

        return paint

    def _edit_app(self, old: str, new: str, message: str) -> None:
        self._stage.commit(scenario.HELLO_WORLD, "server.js", lambda text: text.replace(old, new), message)
        self._narrator.say("github.com", f"pushed to {scenario.HELLO_WORLD}: {message}")

    def _shows(self, text: str) -> Callable[[], Page | None]:
        def look() -> Page | None:
            page = self._stage.page()
            return page if page.status == 200 and text in page.text else None

        return look

    def _image(self) -> str:
        group = self._stage.container_group()
        return str(group["properties"]["containers"][0]["properties"]["image"]) if group else ""

    def _own_seconds(self, total: float, started_at: datetime, seen_at: datetime) -> float:
        """The seconds that neither a task run nor the start of the container explains."""
        foreign = 0.0
        for registry in (scenario.PUBLIC, scenario.BASE, scenario.TEAM):
            for run in self._stage.runs(registry):
                if moment(run["createTime"]) >= started_at and run.get("finishTime"):
                    foreign += (moment(run["finishTime"]) - moment(run["createTime"])).total_seconds()
        return max(0.0, total - foreign - self._start_seconds(seen_at))

    def _start_seconds(self, seen_at: datetime) -> float:
        """From the pull of the image to the page."""
        group = self._stage.container_group() or {"properties": {"containers": [{"properties": {}}]}}
        view = group["properties"]["containers"][0]["properties"].get("instanceView") or {}
        pulls = [moment(event["firstTimestamp"]) for event in view.get("events") or [] if event["name"] == "Pulling"]
        return (seen_at - max(pulls)).total_seconds() if pulls else 0.0

    def _tell(
        self, number: int, title: str, outcome: str, seconds: float, *, own: float | None = None, reason: str = ""
    ) -> Told:
        stable = self._stage.stable_digest()
        return Told(
            chapter=number,
            title=title,
            outcome=outcome,
            seconds=round(seconds, 2),
            own_seconds=None if own is None else round(own, 2),
            colour=self._stage.page().colour,
            stable_digest=stable,
            unique_tags=self._stage.unique_tags(stable),
            image=self._image(),
            reason=reason,
        )


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise StoryError(f"expected {what}")
