"""Drift as people read it: a line for each tag and app, then what is wrong and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from basegate_cli.show import brief, plain, row, state, table, when


def drift(answer: dict[str, Any]) -> RenderableType:
    """Upstream, ledger, stable tag, app and container side by side."""
    tags = table("gate", "tag", "upstream", "since (UTC)", "known by", "candidate", "stable tag", "")
    for gate in answer["gates"]:
        for tag in gate["tags"]:
            told = "event" if tag["told"] else "sweep"
            cells = (gate["name"], tag["tag"], brief(tag["upstream"]), when(tag["upstreamSince"]), told)
            row(tags, *cells, state(tag["state"]), brief(tag["stable"]), _verdict(tag))
    apps = table("app", "stands on", "built on", "runs", "since (UTC)", "")
    for app in answer["apps"]:
        base = f"{app['gate']} {app['tag']} {brief(app['stable'])}"
        row(apps, app["name"], base, brief(app["base"]), app["live"], when(app["liveSince"]), _verdict(app))
    return Group(tags, Text(), apps, Text(), *_looks(answer), *_alarms(answer))


def _verdict(line: dict[str, Any]) -> Text:
    if line["same"]:
        return Text("same", style="green")
    return Text("held", style="yellow") if line.get("held") else Text("differs", style="yellow")


def _looks(answer: dict[str, Any]) -> Iterator[Text]:
    for gate in answer["gates"]:
        look, counted = gate["look"], gate["completeness"]
        parts = [f"gate {gate['name']}: {look['looked']} tags of {gate['source']} looked at {when(look['lookedAt'])}"]
        if look["nextAt"]:
            parts.append(f"next after {when(look['nextAt'])}")
        if gate["pausedUntil"]:
            parts.append(f"left alone until {when(gate['pausedUntil'])}")
        if gate["pullsLeft"] is not None:
            parts.append(f"{gate['pullsLeft']} pulls left")
        seconds = counted["recoverySeconds"]
        found = f"{counted['found']} found by sweep" + (f" within {seconds:.0f} s" if seconds else "")
        parts.append(f"{counted['told']} changes told by events, {found}")
        yield plain("; ".join(parts))
        if look["problem"]:
            yield Text.assemble("  ", (str(plain(look["problem"])), "red"))


def _alarms(answer: dict[str, Any]) -> Iterator[Text]:
    if not answer["alarms"]:
        yield Text("No alarms.", style="green")
    for part in (*answer["gates"], *answer["apps"], *answer["registries"]):
        for alarm in part["alarms"]:
            yield Text.assemble(("! ", "bold red"), plain(f"{alarm['words']} (since {when(alarm['since'])})"))
            yield plain(f"  {alarm['plan']}")
