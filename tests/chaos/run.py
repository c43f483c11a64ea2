"""One run: sets up the scenario, kills its processes while images are pushed, and judges the result."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from demo import scenario
from demo.azure import Azure
from demo.client import ScenarioClient
from demo.environment import Environment
from sandbox.testing import ProcessKind
from tests.chaos import victims
from tests.chaos.judge import Seen, unfinished, violations
from tests.chaos.ledger import AWAY, Ledger
from tests.chaos.listener import Listener
from tests.chaos.pushes import TAGS, Pushes
from tests.chaos.sampling import Samples

Say = Callable[[str], None]

_BACK_SECONDS = 90.0
"""The time in which a killed process must be running again."""

_LEASE_SECONDS = 30.0
"""The lease of a queue message, after which a killed host's message is redelivered: ten minutes in Azure, too long."""

_FIRST_SECONDS = 180.0
_RESTART_SECONDS = 180
_TRACKED = f'["{scenario.STABLE}"]'


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a run, in seconds; `pause` is the mean between two kills, `kill_limit` the end of kills.

    A digest under its tag for `stay` must be in the ledger; within `settle` after the last kill everything must have
    settled.
    """

    kills: int
    seed: int
    pause: float
    stay: float
    settle: float
    kill_limit: float


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run."""

    killed: dict[str, int]
    pushes: int
    stayed: int
    readings: int
    samples: int
    heard: int
    harmed: int
    settled_after: float
    violations: list[str]


class Run:
    """A scenario in its own folder, from its start to its end."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan, self._say, self._began = plan, say, time.monotonic()
        self._draw, self._problems, self._killed = Random(f"kills {plan.seed}"), list[str](), Counter[str]()
        self._clean = dict(os.environ)  # the environment of the sandbox, without a proxy that leads to itself
        gates = folder / "gates.yaml"
        text = (scenario.ROOT / scenario.GATES).read_text()
        gates.write_text(text.replace(_TRACKED, str(list(TAGS)).replace("'", '"')))
        self._listener = Listener()
        settings = {"BASEGATE_GATES": str(gates), "BASEGATE_WEBHOOK_URL": self._listener.url}
        self._environment = Environment(folder / "state", settings, _LEASE_SECONDS)
        self._ledger = Ledger(self._environment)

    def play(self) -> Ended:
        """Play it. The sandbox is always stopped at the end."""
        with contextlib.ExitStack() as last:
            last.callback(self._environment.close)
            self._environment.open(lambda line: None)
            self._listener.come(self._environment.instance)
            last.callback(self._listener.go)
            self._first_push()
            samples = Samples(self._environment.instance, TAGS)
            pushes = Pushes(Random(f"pushes {self._plan.seed}"), self._plan.stay)
            last.callback(pushes.close)
            samples.start()
            last.callback(samples.stop)
            pushes.start()
            self._kill_all(pushes)
            settled = self._settle(pushes, samples)
            return self._ended(pushes, samples, settled)

    def _first_push(self) -> None:
        """Play the scenario's first image to the page, as in the story."""
        azure = Azure()
        client = ScenarioClient(azure)
        try:
            client.run_task(scenario.PUBLIC, "node-public")
            client.wait("the first page", lambda: client.page().colour, _FIRST_SECONDS)
        finally:
            client.close()
            azure.close()
        self._tell("the scenario runs")

    def _kill_all(self, pushes: Pushes) -> None:
        """Kill by the plan. The listener is unavailable in the second quarter; pushes end before the last kills."""
        kinds = victims.drawn(self._plan.kills, self._draw)
        moments = {len(kinds) // 4: self._listener.go, len(kinds) // 2: self._listener_back}
        last_pushes = max(len(kinds) - 5, len(kinds) * 9 // 10)
        deadline = time.monotonic() + self._plan.kill_limit
        for number, kind in enumerate(kinds):
            if number in moments:
                moments[number]()
            if number == last_pushes:
                pushes.ask_to_stop()
            if time.monotonic() > deadline:
                self._problems.append(f"{number} kills only within {self._plan.kill_limit:.0f} s")
                break
            self._kill(number + 1, kind)
        self._listener_back()
        pushes.stop()

    def _listener_back(self) -> None:
        self._listener.go()
        self._listener.come(self._environment.instance)

    def _kill(self, number: int, kind: ProcessKind) -> None:
        """Kill one process of a kind. A killed sandbox is started again; it restarts the other kinds itself.

        The pause begins once there is one: otherwise processes killed before would be killed again as they start.
        """
        choice, pause = self._draw.random(), self._draw.uniform(0.1, 2.0) * self._plan.pause
        deadline, paused = time.monotonic() + _BACK_SECONDS, False
        while time.monotonic() < deadline:
            there = self._environment.instance.processes(kind)
            pid = there[int(choice * len(there))] if there else None
            if pid and not paused:
                time.sleep(pause)
                paused = True
            elif pid and victims.kill(pid):
                self._tell(f"kill {number}: {kind}, pid {pid}")
                self._killed[kind] += 1
                if kind is ProcessKind.SANDBOX:
                    self._start_again(pid)
                return
            time.sleep(0.05)
        self._problems.append(f"no process of the kind '{kind}' was running for {_BACK_SECONDS:.0f} s")

    def _start_again(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        command = [sys.executable, "-m", "sandbox", "--state", str(self._environment.instance.root), "up"]
        done = subprocess.run(
            command, cwd=scenario.ROOT, env=self._clean, capture_output=True, text=True, timeout=_RESTART_SECONDS,
            check=False,
        )  # fmt: skip
        if done.returncode:
            self._problems.append(f"the sandbox did not start again: {(done.stdout + done.stderr)[-1500:]}")

    def _settle(self, pushes: Pushes, samples: Samples) -> float:
        """Wait until all has settled; returns the seconds. What has not settled within the limit is a violation."""
        began, waiting = time.monotonic(), ["nothing was read"]
        while time.monotonic() - began < self._plan.settle:
            try:
                waiting = self._ledger.unsettled() or unfinished(self._seen(pushes, samples))
            except AWAY as error:
                waiting = [f"the app does not respond: {error}"]
            if not waiting:
                return time.monotonic() - began
            time.sleep(2)
        self._problems += [f"not settled {self._plan.settle:.0f} s after the last kill: {line}" for line in waiting]
        return time.monotonic() - began

    def _ended(self, pushes: Pushes, samples: Samples, settled: float) -> Ended:
        seen = self._seen(pushes, samples)
        return Ended(
            killed=dict(self._killed),
            pushes=len(seen.pushes),
            stayed=len(seen.stayed),
            readings=len(seen.readings),
            samples=samples.taken,
            heard=len(seen.heard),
            harmed=seen.harmed,
            settled_after=settled,
            violations=[*self._problems, *pushes.problems, *violations(seen)],
        )

    def _seen(self, pushes: Pushes, samples: Samples) -> Seen:
        """Everything that can be observed now. Raises `AWAY`."""
        return Seen(
            pushes=pushes.made,
            readings=samples.seen,
            candidates=self._ledger.candidates(),
            heard=self._listener.heard,
            stay_seconds=self._plan.stay,
            now=time.time(),
        )

    def _tell(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f}s  {line}")
