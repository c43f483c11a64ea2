"""Renders responses for people. Text of build logs and registries is printed without control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_COLOURS = {
    **dict.fromkeys(("promoted", "live", "built", "passed"), "green"),
    **dict.fromkeys(("failed", "rejected", "refused"), "red"),
    **dict.fromkeys(("stalled", "awaiting approval", "held", "withdrawn", "restored", "canceled", "unknown"), "yellow"),
    **dict.fromkeys(("examining", "waiting", "promoting", "building", "deploying", "verifying", "restoring"), "cyan"),
}
UNDER_WAY = frozenset(
    ("examining", "awaiting approval", "waiting", "promoting", "building", "deploying", "verifying", "restoring")
)
"""The states that are not final, and do not wait for a decision about the tag."""

_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_LONG_ID = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}(-[0-9]{3})")


def plain(text: object) -> Text:
    """Text without control and zero-width characters: they could control the terminal or mislead the reader."""
    return Text(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n")))


def brief(text: object) -> str:
    """Text with digests and ids cut to their first 12 digits."""
    return _LONG_ID.sub(r"\1\2", _DIGEST.sub(r"\1", str(text or "")))


def state(name: object) -> Text:
    """A state or verdict in its colour."""
    return Text(str(name or "open"), style=_COLOURS.get(str(name), ""))


def when(moment: object) -> str:
    """A time of the ledger, to the second, in UTC."""
    return str(moment)[:19].replace("T", " ") if moment else ""


def status(answer: dict[str, Any]) -> RenderableType:
    """An overview of all gates and apps."""
    apps = table("app", "live", "since (UTC)", "built on", "newest rollout")
    for app in answer["apps"]:
        row(apps, app["name"], app["live"], when(app["liveSince"]), brief(app["base"]), _latest(app["latest"]))
    return Group(_gates(answer["gates"]), Text(), apps)


def gate(answer: dict[str, Any]) -> RenderableType:
    """One gate: its stable tags and its vetoes."""
    vetoes = table("vetoed digest", "by", "why", "since (UTC)")
    for veto in answer["vetoes"]:
        row(vetoes, veto["digest"], veto["actor"], veto["reason"], when(veto["at"]))
    way = plain(f"{answer['source']} -> {answer['target']}")
    return Group(way, _gates([answer]), *((Text(), vetoes) if answer["vetoes"] else ()))


def records(answer: dict[str, Any]) -> RenderableType:
    """A page of candidates or rollouts."""
    lines = table("id", "since (UTC)", "state", "image", "why")
    for item in answer["items"]:
        tag = f" ({item['tag']})" if "tag" in item else ""
        image = f"{brief(item['image'])}{tag}"
        row(lines, brief(item["id"]), when(item["createdAt"]), state(item["state"]), image, item["reason"])
    return Group(lines, *more(answer))


def more(answer: dict[str, Any]) -> list[Text]:
    """How to read the next page; a filtered page may be empty and have one."""
    return [plain(f"older ones: --token {answer['next']}")] if answer["next"] else []


def story(record: dict[str, Any]) -> RenderableType:
    """A candidate or a rollout: its state, the evidence, and its history in order."""
    head = Text.assemble(brief(record["id"]), "  ", state(state_of(record)), "  ", plain(why(record)))
    lines = [plain(line) for line in history(record)]
    happened = Text("What happened:", style="bold")
    return Group(head, *_stall(record), *_checks(record), *_promotions(record), happened, *lines, *_log_tails(record))


def exceptions(answer: dict[str, Any]) -> RenderableType:
    """Exceptions, and whether they count."""
    lines = table("gate", "id", "state", "vulnerability", "until", "by", "why")
    for one in answer["items"]:
        about = f"{one['vulnerability']} in {one['package']}" if one["package"] else one["vulnerability"]
        ended = f"ended by {one['endedBy']}" if one["endedBy"] else ""
        why = "; ".join(filter(None, (one["justification"], one["grantedBy"], ended)))
        row(lines, one["gate"], one["id"], one["state"], about, one["until"], one["author"], why)
    warned = [plain(f"warning: {one['warning']}") for one in answer["items"] if one["warning"]]
    return Group(lines, *warned)


def findings(answer: dict[str, Any]) -> RenderableType:
    """What a scan found: the verdict, and a table of the findings, those that fail first."""
    counts = ", ".join(f"{count} {severity}" for severity, count in answer["counts"].items()) or "nothing"
    head = Text.assemble(state(answer["verdict"]), "  ", plain(answer["reason"]))
    lines = table("vulnerability", "severity", "package", "fixed in", "outcome")
    for item in answer["items"]:
        outcome = item["coveredBy"] or item["outcome"] or "no rule"
        new = " (new)" if item["isNew"] else ""
        package = f"{item['package']} {item['version']}"
        row(lines, item["vulnerability"], item["severity"] + new, package, ", ".join(item["fixedIn"]), outcome)
    built = f", database of {when(answer['databaseBuiltAt'])}" if answer["databaseBuiltAt"] else ""
    again = f", scanned again at {when(answer['scannedAgainAt'])}" if answer["scannedAgainAt"] else ""
    about = plain(f"{answer['scanner']}{built}{again}, {answer['platform'] or 'platform not told'}: {counts}")
    left = answer["total"] - len(answer["items"])
    rest = [plain(f"and {left} more: --sarif has all")] if left else []
    warned = [plain(f"warning: {text}") for text in answer["warnings"]]
    warned += [plain(f"VEX document sha256:{one['sha256'][:12]} signed by {one['signer']}") for one in answer["vex"]]
    return Group(head, about, *warned, *([lines] if answer["items"] else ()), *rest)


def state_of(record: dict[str, Any]) -> str:
    """The state of a record, as lists show it."""
    settled = record["state"] not in UNDER_WAY
    return "stalled" if record.get("stall") and not settled else str(record["state"])


def why(record: dict[str, Any]) -> str:
    """The reason of a record's state."""
    return str(record["stall"]["reason"] if state_of(record) == "stalled" else record["reason"])


def history(record: dict[str, Any]) -> list[str]:
    """The history of a record and of its promotions, by time."""
    lines = [("", entry) for entry in record["history"]]
    for promotion in record.get("promotions", ()):
        lines += [(f"{promotion['tag']}: ", entry) for entry in promotion["history"]]
    lines.sort(key=lambda line: str(line[1]["at"])[:19])
    return [f"  {when(e['at'])}  {of}{e['what']}{': ' if e['why'] else ''}{e['why']}" for of, e in lines]


def effects(answer: dict[str, Any]) -> RenderableType:
    """The effects of a plan; after its execution, what was in flight against it, and what to read next."""
    head = "This would be done:" if answer["dryRun"] else "Done:"
    lines = [plain(f"  {effect['what']}: {effect['subject']}") for effect in answer["effects"]]
    lines += [plain(f"  warning: {text}") for text in answer.get("warnings", ())]
    lines += [plain(f"  in flight: {effect['what']}: {effect['subject']}") for effect in answer.get("inFlight", ())]
    see = [plain(f"See {answer['see']}")] if answer.get("see") else []
    return Group(Text(head, style="bold"), *lines, *see)


def status_lines(answer: dict[str, Any]) -> list[str]:
    """The status as lines, one for each stable tag and app: a watcher prints those that change."""
    lines = []
    for one in answer["gates"]:
        newest = _latest(one["latest"]).plain
        tags = list(map(_tag_line, one["stable"]))
        lines.append(f"gate {one['name']}: {', '.join(tags) or 'nothing promoted'}; {newest}")
    for app in answer["apps"]:
        lines.append(f"app {app['name']}: {app['live'] or 'nothing live'}; {_latest(app['latest']).plain}")
    return lines


def _tag_line(tag: dict[str, Any]) -> str:
    risk = " at risk" if tag["scan"] and tag["scan"]["atRisk"] else ""
    return f"{tag['tag']} on {brief(tag['digest'])}{' held' if tag['hold'] else ''}{risk}"


def promotions(answer: dict[str, Any]) -> RenderableType:
    """A page of the moves of stable tags."""
    lines = table("tag", "number", "moved (UTC)", "to", "unique tag", "by")
    for item in answer["items"]:
        by = item["movedBy"] or brief(item["candidate"])
        row(lines, item["tag"], item["sequence"], when(item["movedAt"]), brief(item["digest"]), item["unique"], by)
    return Group(lines, *more(answer))


def holds(answer: dict[str, Any]) -> RenderableType:
    """The active holds."""
    lines = table("gate", "tag", "digest", "since (UTC)", "until", "by", "why")
    for item in answer["items"]:
        promoted = brief(item["digest"]) or "nothing yet"
        row(lines, item["gate"], item["tag"], promoted, when(item["at"]), item["until"], item["actor"], item["reason"])
    return lines


def vetoes(answer: dict[str, Any]) -> RenderableType:
    """Vetoes, and who lifted them."""
    lines = table("gate", "vetoed digest", "since (UTC)", "by", "why", "lifted (UTC)", "by whom, and why")
    for item in answer["items"]:
        lifted = when(item["lifted_at"])
        row(
            lines,
            item["gate"],
            item["digest"],
            when(item["at"]),
            item["actor"],
            item["reason"],
            lifted,
            item["lifted_by"],
        )
    return lines


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
    apps = table("app", "base tag", "built on", "runs", "since (UTC)", "")
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
            parts.append(f"backing off until {when(gate['pausedUntil'])}")
        if gate["pullsLeft"] is not None:
            parts.append(f"{gate['pullsLeft']} pulls left")
        found = f"{counted['bySweep']} found by sweep"
        if counted["recoverySeconds"]:
            found += f" within {counted['recoverySeconds']:.0f} s"
        parts.append(f"{counted['byEvent']} changes known by event, {found}")
        if counted["leftOut"]:
            parts.append(f"{counted['leftOut']} names are not tags, such as {counted['leftOutName']}")
        yield plain("; ".join(parts))
        if sweep["problem"]:
            yield Text.assemble("  ", (str(plain(sweep["problem"])), "red"))


def _unread(answer: dict[str, Any]) -> Iterator[Text]:
    """Why a push was not examined: its tag had another digest when it was read."""
    for gate in answer["gates"]:
        for tag in gate["tags"]:
            for one in tag["expectations"]:
                what = f"{brief(one['digest'])}, named by event {one['event']} at {when(one['at'])}"
                yield plain(f"gate {gate['name']}, tag {tag['tag']}: {what}, was never read: not examined")


def _left_over(answer: dict[str, Any]) -> Iterator[Text]:
    for gate in answer["gates"]:
        if names := ", ".join(left["unique"] for left in gate["leftOver"]):
            yield plain(f"gate {gate['name']}: unused unique tags of {gate['target']}: {names}")


def _alarms(answer: dict[str, Any]) -> Iterator[Text]:
    if not answer["alarms"]:
        yield Text("No alarms.", style="green")
    for part in (*answer["gates"], *answer["apps"], *answer["registries"], {"alarms": answer["stalls"]}):
        for alarm in part["alarms"]:
            yield Text.assemble(("! ", "bold red"), plain(f"{alarm['words']} (since {when(alarm['since'])})"))
            yield plain(f"  {alarm['plan']}")


def _gates(listed: Iterable[dict[str, Any]]) -> Table:
    gates = table("gate", "tag", "digest", "unique tag", "since (UTC)", "held", "scan", "newest candidate")
    for gate in listed:
        for tag in gate["stable"]:
            digest, moved, hold, scan = (
                brief(tag["digest"]),
                when(tag["movedAt"]),
                _hold(tag["hold"]),
                _scan(tag["scan"]),
            )
            row(gates, gate["name"], tag["tag"], digest, tag["unique"], moved, hold, scan, _latest(gate["latest"]))
        if not gate["stable"]:
            row(gates, gate["name"], *("",) * 6, _latest(gate["latest"]))
    return gates


def _scan(scan: dict[str, Any] | None) -> Text:
    """What the newest report of a stable tag found; "" if the gate does not scan."""
    if scan is None or scan["scannedAt"] is None:
        return Text("not scanned" if scan else "")
    found = plain(", ".join(f"{count} {severity}" for severity, count in scan["counts"].items()) or "nothing found")
    return Text.assemble(("at risk: ", "bold red"), found) if scan["atRisk"] else found


def _checks(record: dict[str, Any]) -> Iterator[Text]:
    for check in record.get("checks", ()):
        run = f" in run {check['run_id']} of {check['registry']}" if check["run_id"] and check["registry"] else ""
        why = f": {check['reason']}" if check["reason"] else ""
        verdict = check["verdict"] or ("unknown" if check["retry_at"] else "")
        yield Text.assemble(f"  check {check['kind']}{run}: ", state(verdict), plain(why))


def _stall(record: dict[str, Any]) -> Iterator[Text]:
    if state_of(record) == "stalled":
        stall = record["stall"]
        yield plain(f"  stalled on {stall['dependency']} since {when(stall['since'])}: {stall['remedy']}".rstrip(": "))
        yield plain(f"  tried {stall['tries']} times, again at {when(stall['next_try_at']) or 'any moment'}")


def _promotions(record: dict[str, Any]) -> Iterator[Text]:
    for promotion in record.get("promotions", ()):
        unique = f" as {promotion['unique']}" if promotion["unique"] else ""
        reason = f": {why(promotion)}" if why(promotion) else ""
        head = plain(f"  tag {promotion['tag']}, number {promotion['sequence']}{unique}: ")
        yield Text.assemble(head, state(state_of(promotion)), plain(reason))
        yield from _stall(promotion)


def _log_tails(record: dict[str, Any]) -> Iterator[Text]:
    for step in (*record.get("checks", ()), record.get("build") or {}):
        tail: Sequence[str] = (step.get("evidence") or {}).get("log_tail") or ()
        if tail:
            yield Text("The end of its log:", style="bold")
            yield from (plain(f"  {line}") for line in tail)


def _hold(hold: dict[str, Any] | None) -> str:
    return f"by {hold['actor']}: {hold['reason']} (until {hold['until']})" if hold else ""


def _latest(item: dict[str, Any] | None) -> Text:
    return Text.assemble(brief(item["id"]), " ", state(item["state"])) if item else Text("none")


def table(*names: str) -> Table:
    """A table with column heads."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        made.add_column(name, overflow="fold")
    return made


def row(into: Table, *cells: object) -> None:
    """Add a row to a table."""
    into.add_row(*_texts(cells))


def _texts(cells: Iterable[object]) -> Iterator[Text]:
    for cell in cells:
        yield cell if isinstance(cell, Text) else plain(cell or "")
