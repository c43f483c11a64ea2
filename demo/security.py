"""The two chapters of the security gate: a finding and its exception, and a scanner that is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from demo import scenario
from demo.azure import Azure
from demo.chapters import painted
from demo.decision_records import DecisionRecords
from demo.environment import Environment
from demo.provision import Provisioning
from demo.runner import PATIENCE_SECONDS, ChapterResult, ChapterRunner, expect
from demo.scanner import Scanner

_GATE = "node"
_PACKAGE, _VULNERABLE, _MENDED = "demo-colour", "1.0.1", "1.0.2"
_VULNERABILITY = "DEMO-2024-0001"
_FOLDER = f"/usr/lib/node_modules/{_PACKAGE}"
_ADA, _EDA, _BOB = "ada@contoso.com", "eda@contoso.com", "bob@contoso.com"
_STALLED = "a step does not work"
"""The kind of the alarm about a record that cannot go on."""

_STATE = re.compile(r'<span class="glyph" aria-hidden="true"></span>([^<]+)</span>')
"""A state on the board: of the candidate, then of each of its checks."""


class SecurityChapters:
    """Plays the chapters with a scan. They restart the app with other rules, which stay."""

    def __init__(self, runner: ChapterRunner, environment: Environment, azure: Azure) -> None:
        self._runner, self._environment, self._azure = runner, environment, azure
        self._client, self._basegate, self._say = runner.client, runner.basegate, runner.narrator.say
        self._scanner = Scanner(azure)
        self._records = DecisionRecords(azure, runner.basegate, environment.instance.root)

    def close(self) -> None:
        """Close the connections."""
        self._scanner.close()
        self._records.close()

    def all(self) -> list[Callable[[], ChapterResult]]:
        """The chapters in order."""
        return [self.vulnerable, self.no_scanner]

    def vulnerable(self) -> ChapterResult:
        """(11) A base with a known vulnerability is stopped; an exception lets it pass, and its record says who."""
        title = "A base with a known vulnerability: stopped by the scan, until an exception is granted"
        began, since = self._runner.begin(11, title)
        self._switch_on_the_scan()
        with self._runner.narrator.watching():
            self._publish("Green", _VULNERABLE)
            self._see_it_stopped(since)
            self._accept()
            self._runner.outcome("Promoted", since)
            accepted = self._verify()
            self._runner.see_colour("Green")
            seconds = time.monotonic() - began
            self._runner.outcome("RolloutLive", since)
        return self._runner.tell(11, title, "excepted", seconds, reason=accepted)

    def no_scanner(self) -> ChapterResult:
        """(12) Without a scanner there is no verdict and no promotion; when it is back, the gate goes on by itself."""
        title = "The mended base, but the scanner is away: unknown, until the scanner is back"
        began, since = self._runner.begin(12, title)
        stable = self._client.stable_digest()
        with self._runner.narrator.watching():
            self._say("someone", self._scanner.take_away())
            self._publish("DeepSkyBlue", _MENDED)
            unknown = self._see_it_unknown(since)
            expect(self._client.stable_digest() == stable, "the stable tag to stay where it was")
            self._scanner.bring_back()
            self._say("someone", "pushed the scanner's image again")
            promoted = self._runner.outcome("Promoted", since)["data"]
            self._runner.see_colour("DeepSkyBlue")
            seconds = time.monotonic() - began
            self._runner.outcome("RolloutLive", since)
        self._expect_one_functional_test(unknown)
        expect(promoted["image"].endswith(self._client.stable_digest()), "the mended base under the stable tag")
        return self._runner.tell(12, title, "resumed", seconds, reason=str(unknown["stall"]["reason"]))

    def _switch_on_the_scan(self) -> None:
        """Provide a scanner and a key, and restart the app with rules that scan."""
        self._say("operator", f"the scan is switched on ({scenario.GATES_WITH_SCAN}), and decision records are signed")
        Provisioning(self._azure).scan_task(self._scanner.push())
        settings = {"BASEGATE_GATES": str(scenario.GATES_WITH_SCAN), "BASEGATE_SIGNING_KEY": self._records.make_key()}
        self._environment.start_app(lambda line: self._say("operator", line), settings=settings)

    def _publish(self, colour: str, version: str) -> None:
        """Push the upstream image in another colour, and with a version of the package."""
        what = f'{{"name": "{_PACKAGE}", "version": "{version}"}}'
        line = f"RUN mkdir -p {_FOLDER} && echo '{what}' > {_FOLDER}/package.json"

        def change(text: str) -> str:
            kept = [one for one in painted(text, colour).splitlines() if _FOLDER not in one]
            return "\n".join([*kept, line, ""])

        self._client.commit(scenario.BASE_IMAGE_NODE, "Dockerfile", change, f"{_PACKAGE} {version}")
        self._say("github.com", f"pushed to {scenario.BASE_IMAGE_NODE}: {_PACKAGE} {version}, {colour}")

    def _see_it_stopped(self, since: int) -> None:
        """The scan names the finding and what mends it: in the outcome, on the board, and on the command line."""
        before = self._client.stable_digest()
        event = self._runner.outcome("CandidateFailed", since)
        reason, candidate = str(event["data"]["reason"]), f"{_GATE}.{event['subject'].rpartition('/')[2]}"
        self._say("basegate", f"[red]refused:[/] {reason}")
        expect(_VULNERABILITY in reason, f"the vulnerability in the reason, not {reason!r}")
        (finding,) = self._basegate.read("findings", candidate)["items"]
        found = f"{finding['vulnerability']} in {finding['package']} {finding['version']}"
        self._say("basegate findings", f"{found}, {finding['severity']}, fixed in {', '.join(finding['fixedIn'])}")
        expect(finding["outcome"] == "fails" and finding["fixedIn"] == [_MENDED], f"a finding that fails: {finding}")
        page = self._environment.board(f"candidates/{candidate}")
        for shown in (_VULNERABILITY, f"{_PACKAGE} {_VULNERABLE}", f"<div>{_MENDED}</div>"):
            expect(shown in page, f"{shown!r} on the board's page of the candidate")
        expect(self._client.stable_digest() == before, "the stable tag to stay where it was")

    def _accept(self) -> None:
        """One person asks for an exception with an end, another one grants it."""
        until = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
        asked = ("except", _GATE, _VULNERABILITY, until, "--package", _PACKAGE)
        self._act(_ADA, *asked, reason="No page takes a colour from a visitor")
        (request,) = self._basegate.read("exceptions")["items"]
        self._act(_BOB, "grant", _GATE, request["id"], reason="Until the mended base is here")

    def _act(self, actor: str, *arguments: str, reason: str) -> None:
        self._say(actor, f"basegate {' '.join(arguments)} --reason '{reason}'")
        self._basegate.act(*arguments, reason=reason, actor=actor)

    def _verify(self) -> str:
        """The record proves who decided what, and proves nothing once a byte of it was changed.

        Returns the line about the exception.
        """
        image = f"node:{scenario.STABLE}"
        said = self._client.wait("a decision record", lambda: self._proven(image), PATIENCE_SECONDS)
        self._say("anybody", f"basegate verify {scenario.BASE}.azurecr.io/{image} --key basegate.pem")
        lines = [line.strip() for line in said.splitlines()]
        accepted = next((line for line in lines if _VULNERABILITY in line), "")
        for line in (lines[0], accepted, lines[-1]):
            self._say("", line)
        expect(0 < accepted.find(_ADA) < accepted.find(f"granted by {_BOB}"), f"who decided in the record, not {said}")
        copy = self._records.forge(self._client.stable_digest(), _ADA, _EDA)
        self._say("someone", f"copied image and record to {copy}, with one byte changed: {_EDA} asked for it")
        proven, refused = self._records.verify(copy)
        self._say("anybody", f"basegate verify {scenario.BASE}.azurecr.io/{copy}: [red]{' '.join(refused.split())}[/]")
        expect(not proven and "its content was changed afterwards" in refused, f"a refusal, not {refused!r}")
        return accepted

    def _proven(self, image: str) -> str:
        """What `basegate verify` says of a proven image, "" while it is not proven."""
        proven, said = self._records.verify(image)
        return said if proven else ""

    def _see_it_unknown(self, since: int) -> dict[str, Any]:
        """The functional test has passed, the scan is unknown: so say the record and the board. Returns the record."""
        client, outcomes = self._client, self._runner.outcomes
        client.wait("an alarm", lambda: outcomes.find("DriftFound", since, kind=_STALLED), PATIENCE_SECONDS)
        story = client.wait("a candidate that is stalled", self._stalled, PATIENCE_SECONDS)
        test, scan = _checks(story)
        reason = story["stall"]["reason"]
        self._say("basegate", f"[yellow]unknown:[/] {reason}; next try {story['stall']['next_try_at'][11:19]} UTC")
        expect(test["verdict"] == "passed", f"a functional test that passed, not {test['verdict']}")
        expect(scan["verdict"] is None and scan["runs"] == 1, f"one scan without a verdict, not {scan}")
        states = _STATE.findall(self._environment.board(f"candidates/{story['id']}"))
        expect(states == ["stalled", "passed", "unknown"], f"an unknown scan on the board, not {states}")
        expect(reason.partition(":")[0] in self._environment.board("overview"), "the reason on the board's overview")
        return story

    def _expect_one_functional_test(self, unknown: dict[str, Any]) -> None:
        """The scan ran again, the functional test did not."""
        story: dict[str, Any] = self._basegate.read("why", unknown["id"])
        (before, _), (test, scan) = _checks(unknown), _checks(story)
        expect(story["state"] == "passed", f"a candidate that passed, not {story['state']}")
        expect((test["run_id"], test["runs"]) == (before["run_id"], 1), "the functional test of before, run once")
        expect((scan["verdict"], scan["runs"]) == ("passed", 2), "a scan that passed in its second run")

    def _stalled(self) -> dict[str, Any] | None:
        """The newest candidate, if it is stalled."""
        newest = self._basegate.read("candidates", _GATE)["items"][0]
        return dict(self._basegate.read("why", newest["id"])) if newest["state"] == "stalled" else None


def _checks(story: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The functional test and the scan of a candidate."""
    checks = {check["kind"]: check for check in story["checks"]}
    return checks["task"], checks["scan"]
