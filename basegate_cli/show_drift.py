"""Drift as people read it: a line for each tag and app, then what is wrong and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from basegate_cli.show import brief, plain, row, state, table, when


def drift(answer: dict[str, Any]) -> RenderableType:
    """Upstream, ledger, stable tag, app and container side by side."""
    tags = table("gate", "tag", "upstream", "since (UTC)", "number", "candidate", "stable tag", "")
    for gate in answer["gates"]:
        for tag in gate["tags"]:
            upstream = (
                f"{brief(tag['upstream'])}{' (gone)' if tag['absent'] else ' (in doubt)' if tag['doubted'] else ''}"
            )
            cells = (gate["name"], tag["tag"], upstream, when(tag["upstreamSince"]), tag["sequence"])
            row(tags, *cells, state(tag["state"]), brief(tag["stable"]), _verdict(tag))
    apps = table("app", "stands on", "built on", "runs", "since (UTC)", "")
    for app in answer["apps"]:
        base = f"{app['gate']} {app['tag']} {brief(app['stable'])}"
        row(apps, app["name"], base, brief(app["base"]), app["live"], when(app["liveSince"]), _verdict(app))
    return Group(tags, Text(), apps, Text(), *_sweeps(answer), *_unread(answer), *_left_over(answer), *_alarms(answer))


def _verdict(line: dict[str, Any]) -> Text:
    if line["same"]:
        return Text("same", style="green")
    return Text("held", style="yellow") if line.get("held") else Text("differs", style="yellow")


def _sweeps(answer: dict[str, Any]) -> Iterator[Text]:
    for gate in answer["gates"]:
        sweep, counted = gate["sweep"], gate["completeness"]
        parts = [f"gate {gate['name']}: {sweep['subjects']} tags of {gate['source']} read {when(sweep['lastAt'])}"]
        if sweep["nextAt"]:
            parts.append(f"next after {when(sweep['nextAt'])}")
        if gate["pausedUntil"]:
            parts.append(f"left alone until {when(gate['pausedUntil'])}")
        if gate["pullsLeft"] is not None:
            parts.append(f"{gate['pullsLeft']} pulls left")
        found = f"{counted['bySweep']} found by sweep"
        if counted["recoverySeconds"]:
            found += f" within {counted['recoverySeconds']:.0f} s"
        parts.append(f"{counted['byEvent']} changes known by event, {found}")
        if counted["leftOut"]:
            parts.append(f"{counted['leftOut']} names are no tags, such as {counted['leftOutName']}")
        yield plain("; ".join(parts))
        if sweep["problem"]:
            yield Text.assemble("  ", (str(plain(sweep["problem"])), "red"))


def _unread(answer: dict[str, Any]) -> Iterator[Text]:
    """Why a push was not examined: its tag was another digest when it was read."""
    for gate in answer["gates"]:
        for tag in gate["tags"]:
            for one in tag["expectations"]:
                what = f"{brief(one['digest'])}, named by event {one['event']} at {when(one['at'])}"
                yield plain(f"gate {gate['name']}, tag {tag['tag']}: {what}, was never read: not examined")


def _left_over(answer: dict[str, Any]) -> Iterator[Text]:
    for gate in answer["gates"]:
        if names := ", ".join(left["unique"] for left in gate["leftOver"]):
            yield plain(f"gate {gate['name']}: unique tags of {gate['target']} that nothing stands on: {names}")


def _alarms(answer: dict[str, Any]) -> Iterator[Text]:
    if not answer["alarms"]:
        yield Text("No alarms.", style="green")
    for part in (*answer["gates"], *answer["apps"], *answer["registries"], {"alarms": answer["stalls"]}):
        for alarm in part["alarms"]:
            yield Text.assemble(("! ", "bold red"), plain(f"{alarm['words']} (since {when(alarm['since'])})"))
            yield plain(f"  {alarm['plan']}")
