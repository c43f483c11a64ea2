"""`python -m demo`: play the story; `python -m demo up` and `down`: start the scenario to try it out, and stop it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from rich.console import Console

from demo import scenario
from demo.around_the_gate import SweepChapters
from demo.azure import Azure
from demo.chapters import Chapters
from demo.client import ScenarioClient, StoryError
from demo.environment import Environment
from demo.narrator import Narrator
from demo.operators import OperatorChapters
from demo.outcomes import Outcomes
from demo.report import make_report, print_report, write_report
from demo.runner import ChapterResult, ChapterRunner
from demo.security import SecurityChapters
from sandbox.testing import NeedError, SandboxError

_PROBLEMS = (StoryError, SandboxError, NeedError, AzureError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("play", "up", "down"), default="play")
    parser.add_argument("--state", help="the sandbox's folder (default: .sandbox/demo, or .sandbox/up)")
    parser.add_argument("--report", default=".", help="folder for demo-report.json")
    parser.add_argument("--kill-worker-in", type=int, metavar="CHAPTER", help="SIGKILL the app's worker mid-chapter")
    parser.add_argument(
        "--events", choices=("on", "off", "lossy"), default="on", help="deliver all events to the app, none, or some"
    )
    parser.add_argument("--chapters", type=int, metavar="N", help="play the first N chapters only")
    parser.add_argument("--keep", action="store_true", help="leave the sandbox running at the end of the story")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    state = options.state or f".sandbox/{'demo' if options.command == 'play' else 'up'}"
    environment = Environment(scenario.ROOT / state)
    try:
        if options.command == "down":
            console.print("stopped" if environment.close() else "nothing was running")
            return 0
        if options.command == "up":
            return _up(environment, console)
        return _play(environment, console, options)
    except _PROBLEMS as error:
        console.print(f"[red]The story stopped:[/] {error}", highlight=False, markup=True)
        console.print(f"Logs are in {environment.instance.logs}", highlight=False)
        return 1


def _play(environment: Environment, console: Console, options: argparse.Namespace) -> int:
    began = time.monotonic()
    console.rule("[bold]Preparation", align="left")
    results: list[ChapterResult] = []
    heard: list[dict[str, Any]] = []
    problem = ""
    try:
        environment.open(lambda line: console.print(f"{time.monotonic() - began:6.1f}s  {line}", highlight=False))
        prepared = time.monotonic() - began
        try:
            environment.deliver_events(options.events)
            _play_chapters(environment, console, results, heard, options)
        except _PROBLEMS as error:
            problem = str(error)
            console.print(f"[red]The story stopped:[/] {problem}", highlight=False)
            console.print(f"Logs are in {environment.instance.logs}", highlight=False)
    finally:
        if not options.keep:
            environment.close()
    report = make_report(results, heard, prepared, time.monotonic() - began, problem)
    print_report(report, console)
    console.print(f"The report is {write_report(report, Path(options.report))}", highlight=False)
    return 0 if report.complete else 1


def _play_chapters(
    environment: Environment,
    console: Console,
    results: list[ChapterResult],
    heard: list[dict[str, Any]],
    options: argparse.Namespace,
) -> None:
    azure = Azure()
    client, outcomes = ScenarioClient(azure), Outcomes(azure)
    basegate = environment.command_line()
    runner = ChapterRunner(client, outcomes, Narrator(console, client), basegate)
    chapters, operators = Chapters(runner), OperatorChapters(runner, basegate)
    sweeps = SweepChapters(runner, chapters, basegate, environment.deliver_events)
    security = SecurityChapters(runner, environment, azure)
    if options.kill_worker_in is not None:
        chapters.after_commit = lambda chapter: (
            _kill_worker(environment, client, console) if chapter == options.kill_worker_in else None
        )
    try:
        for play in (*chapters.all(), *operators.all(), *sweeps.all(), *security.all())[: options.chapters]:
            results.append(play())
    finally:
        heard.extend(outcomes.heard)
        security.close()
        outcomes.close()
        client.close()
        azure.close()


def _kill_worker(environment: Environment, client: ScenarioClient, console: Console) -> None:
    """Wait until the gate examines the push, then send SIGKILL to the app's workers."""
    before = len(client.runs(scenario.BASE))
    client.wait("the examination to begin", lambda: len(client.runs(scenario.BASE)) > before, 60)
    for pid in environment.worker_pids():
        os.kill(pid, signal.SIGKILL)
        console.print(f"         [red]SIGKILL[/] to the app's worker, pid {pid}", highlight=False)


def _up(environment: Environment, console: Console) -> int:
    """Start the scenario and leave it running, or only print its addresses if it runs already."""
    fresh = not environment.is_open()
    if fresh:
        environment.open(lambda line: console.print(line, highlight=False))
    else:
        environment.enter()
    azure = Azure()
    client, outcomes = ScenarioClient(azure), Outcomes(azure)
    try:
        if fresh:
            Chapters(
                ChapterRunner(client, outcomes, Narrator(console, client), environment.command_line())
            ).first_push()
        console.print(f"page      {client.address()}", highlight=False)
    finally:
        outcomes.close()
        client.close()
        azure.close()
    relative = environment.instance.root.relative_to(scenario.ROOT)
    console.print(
        f"app       http://127.0.0.1:{environment.site.port}, log {relative}/logs/site-basegate.log", highlight=False
    )
    console.print(f"board     http://127.0.0.1:{environment.site.port}/api/board, with the key below", highlight=False)
    console.print(f"operate   {environment.command_line().invocation} status", highlight=False, soft_wrap=True)
    console.print(f'shell     eval "$(.venv/bin/python -m sandbox --state {relative} env)"', highlight=False)
    console.print("stop      make down", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
