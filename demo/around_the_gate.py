"""The two chapters without events: changes around the gate, and events that never arrive. The sweep finds both."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo import scenario
from demo.chapters import Chapters
from demo.command_line import CommandLine
from demo.runner import PATIENCE_SECONDS, ChapterResult, ChapterRunner, expect

SWEEP_SECONDS = 10
"""The interval of the app's sweep in the story; in Azure it is five minutes."""

_GATE = "node"


class SweepChapters:
    """Plays what only the sweep can find. `events` turns event delivery on and off."""

    def __init__(
        self, runner: ChapterRunner, chapters: Chapters, basegate: CommandLine, events: Callable[[str], None]
    ) -> None:
        self._runner, self._chapters, self._basegate, self._events = runner, chapters, basegate, events

    def all(self) -> list[Callable[[], ChapterResult]]:
        """The chapters in order."""
        return [self.harm, self.silence]

    def harm(self) -> ChapterResult:
        """(9) A foreign image under the stable tag, and a stopped container: the next sweep restores both."""
        title = "Red pushed around the gate, the container stopped: the sweep reports and restores both"
        began, since = self._runner.begin(9, title)
        client, stable = self._runner.client, self._runner.client.stable_digest()
        red = self._red()
        with self._runner.narrator.watching():
            client.import_around_the_gate(red)
            self._runner.narrator.say(
                "someone", f"az acr import --force: {scenario.STABLE} is {red[:19]} now, which is Red"
            )
            client.stop_container_group()
            self._runner.narrator.say("someone", f"az container stop --name {scenario.CONTAINER_GROUP}")
            repaired = self._runner.outcome("DriftRepaired", since)["data"]
            found = self._runner.outcome("DriftFound", since)["data"]
            self._runner.narrator.say("basegate", f"[yellow]{repaired['plan']}:[/] {repaired['words']}")
            self._runner.narrator.say("basegate", f"[yellow]{found['plan']}:[/] {found['words']}")
            self._runner.outcome("RolloutLive", since)
            self._runner.see_colour("Green")
            seconds = time.monotonic() - began
            self._runner.outcome("DriftResolved", since)
        expect(client.stable_digest() == stable, "the stable tag where the gate had put it")
        return self._runner.tell(9, title, "restored", seconds, reason=str(repaired["words"]))

    def silence(self) -> ChapterResult:
        """(10) With events off, the sweep finds the push, and it reaches the page."""
        title = "Events off, Orange upstream: the sweep finds it, and the page follows one period later"
        began, _ = self._runner.begin(10, title)
        self._events("off")
        try:
            with self._runner.narrator.watching():
                self._runner.narrator.say("event grid", "every event is dropped from now on")
                self._chapters.paint("Orange")
                self._runner.see_colour("Orange")
                seconds = time.monotonic() - began
                self._runner.client.wait("the rollout to be live", self._is_live, PATIENCE_SECONDS)
        finally:
            self._events("on")
        newest = self._basegate.read("candidates", _GATE)["items"][0]
        story = self._basegate.read("why", newest["id"])
        expect(story["found_by"] == "sweep", f"a candidate found by the sweep, not by {story['found_by']}")
        return self._runner.tell(10, title, "found", seconds, reason=str(story["history"][0]["why"]))

    def _is_live(self) -> bool:
        """Whether the newest rollout is live: polled, because outcomes are events too and none is delivered."""
        return bool(self._basegate.read("rollouts", scenario.HELLO_WORLD)["items"][0]["state"] == "live")

    def _red(self) -> str:
        """The digest of Red, which the gate has rejected."""
        items = self._basegate.read("candidates", _GATE)["items"]
        return next(str(item["digest"]) for item in items if item["state"] == "failed")
