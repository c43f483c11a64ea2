"""The two chapters in which an operator uses the command line: run Red again, roll back, hold, lift the hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from demo import scenario
from demo.command_line import CommandLine
from demo.runner import ChapterResult, ChapterRunner, expect

_GATE = "node"


class OperatorChapters:
    """Plays the operator's chapters, after the automatic ones."""

    def __init__(self, runner: ChapterRunner, basegate: CommandLine) -> None:
        self._runner, self._basegate = runner, basegate

    def all(self) -> list[Callable[[], ChapterResult]]:
        """The chapters in order."""
        return [self.red_again, self.roll_back]

    def red_again(self) -> ChapterResult:
        """(7) A digest that failed fails again, as a second attempt with its own evidence."""
        title = "An operator runs Red again: stopped again, as a second attempt"
        began, since = self._runner.begin(7, title)
        before = self._runner.client.stable_digest()
        red = self._candidates("failed")[0]
        with self._runner.narrator.watching():
            again = self._act("rerun", red, reason="Was it the image or the test?")
            event = self._runner.outcome("CandidateFailed", since)
        seconds = time.monotonic() - began
        first, second = _error_line(self._story(red)), _error_line(self._story(again))
        self._runner.narrator.say("basegate", f"[red]refused, attempt {event['data']['attempt']}:[/] {second}")
        expect(event["data"]["attempt"] == self._story(again)["attempt"] == 2, "a second attempt")
        expect(second == first != "", f"the line of the first attempt, {first!r}, not {second!r}")
        expect(self._runner.client.stable_digest() == before, "the stable tag to stay where it was")
        return self._runner.tell(7, title, "stopped", seconds, reason=second)

    def roll_back(self) -> ChapterResult:
        """(8) A rollback holds against a newer push that passes until the hold is lifted."""
        title = "An operator rolls back to Orange: it holds against a new Green until the hold is lifted"
        began, since = self._runner.begin(8, title)
        with self._runner.narrator.watching():
            self._repair_the_app(since)
            orange = self._back_to_orange()
            self._push_a_new_green()
            expect(self._runner.client.stable_digest() == orange, "the hold to keep the stable tag on Orange")
            expect(self._runner.client.page().colour == "Orange", "the hold to keep the page orange")
            self._let_green_through()
        expect(self._runner.client.stable_digest() != orange, "the stable tag on the new Green")
        return self._runner.tell(8, title, "let through", time.monotonic() - began)

    def _repair_the_app(self, since: int) -> None:
        """Repair the app's source, which returns 500 since chapter 6 and is built by every rollout."""
        self._runner.edit_app("const STATUS = 500", "const STATUS = 200", "Repair the page")
        self._runner.outcome("RolloutLive", since)

    def _back_to_orange(self) -> str:
        """Roll the base back to the digest that was stable before Green, and return it."""
        since = len(self._runner.outcomes.heard)
        earlier = self._basegate.read("promotions", _GATE)["items"][1]
        self._act("rollback", _GATE, scenario.STABLE, earlier["unique"], reason="Green hurts the eyes")
        self._runner.see_colour("Orange")
        self._runner.outcome("RolloutLive", since)
        expect(self._runner.client.stable_digest() == earlier["digest"], "the stable tag on Orange")
        return str(earlier["digest"])

    def _push_a_new_green(self) -> None:
        """Push a new Green digest: it is examined, passes, and is held."""
        since = len(self._runner.outcomes.heard)
        message = "Green, softer"
        self._runner.client.commit(
            scenario.BASE_IMAGE_NODE, "Dockerfile", lambda text: f'{text.rstrip()}\nLABEL shade="soft"\n', message
        )
        self._runner.narrator.say("github.com", f"pushed to {scenario.BASE_IMAGE_NODE}: {message}")
        event = self._runner.outcome("PromotionHeld", since)
        self._runner.narrator.say("basegate", f"[yellow]held:[/] {event['data']['reason']}")

    def _let_green_through(self) -> None:
        since = len(self._runner.outcomes.heard)
        self._act("lift", _GATE, scenario.STABLE, reason="The new Green is fine")
        self._runner.see_colour("Green")
        self._runner.outcome("RolloutLive", since)

    def _act(self, *arguments: str, reason: str) -> str:
        self._runner.narrator.say("operator", f"basegate {' '.join(arguments)} --reason '{reason}'")
        return self._basegate.act(*arguments, reason=reason)

    def _candidates(self, state: str) -> list[str]:
        """The ids of the gate's candidates in a state, the newest first."""
        page = self._basegate.read("candidates", _GATE)
        return [_short_id(item) for item in page["items"] if item["state"] == state]

    def _story(self, candidate: str) -> dict[str, Any]:
        story: dict[str, Any] = self._basegate.read("why", candidate)
        return story


def _short_id(item: dict[str, Any]) -> str:
    """The id of a candidate as people type it."""
    return f"{item['gate']}.{item['digest'].removeprefix('sha256:')[:12]}-{item['attempt']:03}"


def _error_line(story: dict[str, Any]) -> str:
    lines = [line for check in story["checks"] for line in check["evidence"]["log_tail"] if "ERROR" in line]
    return str(lines[0]) if lines else ""
