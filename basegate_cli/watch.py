"""Polls once a second: redraws the view on a terminal, prints new lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.live import Live

from basegate_cli import show
from basegate_cli.client import Away, Problem, Unreachable
from basegate_cli.session import Session
from shared.interface import OPERATIONS

POLL_SECONDS = 1.0
PATIENCE = 10
"""How many requests in a row may fail: with growing pauses, up to a minute, which a restart of the app may take."""


def watch_record(session: Session, path: str) -> None:
    """Watch a candidate or a rollout until it is settled, and the promotions of the candidate's digest."""
    _follow(session, path, show.story, _story_lines, _is_settled)


def watch_status(session: Session) -> None:
    """Watch all gates and apps until interrupted."""
    _follow(session, OPERATIONS["status"].path, show.status, show.status_lines, lambda answer: False)


def _follow(
    session: Session,
    path: str,
    picture: Callable[[Any], RenderableType],
    lines: Callable[[Any], list[str]],
    ended: Callable[[Any], bool],
) -> None:
    try:
        if session.json or not session.out.is_terminal:
            _poll(session, path, ended, _printer(session, lines))
            return
        with Live(console=session.out, auto_refresh=False, transient=True) as live:
            last = _poll(session, path, ended, lambda text: live.update(picture(json.loads(text)), refresh=True))
        session.show(last, picture)  # in full: the live view is cut at the end of the screen
    except KeyboardInterrupt:
        return  # the usual way to stop it


def _poll(session: Session, path: str, ended: Callable[[Any], bool], draw: Callable[[str], None]) -> str:
    while True:
        answer = _ask(session, path)
        draw(answer)
        if ended(json.loads(answer)):
            return answer
        time.sleep(POLL_SECONDS)


def _ask(session: Session, path: str) -> str:
    """One request; while Basegate is unavailable (during a deployment, say) it is retried, and the errors are shown."""
    for failed in range(1, PATIENCE):
        try:
            return session.client.get(path)
        except (Unreachable, Away) as error:
            session.err.print(show.plain(f"{error} (try {failed} of {PATIENCE})"))
            time.sleep(POLL_SECONDS * failed)
        except Problem:
            break  # repeated below, where it is reported like any other
    return session.get(path)


def _printer(session: Session, lines: Callable[[Any], list[str]]) -> Callable[[str], None]:
    """Prints what changed since the last response: with `--json` whole responses, one per line."""
    seen: set[str] = set()

    def draw(text: str) -> None:
        now = [text] if session.json else lines(json.loads(text))
        for line in now:
            if line not in seen:
                print(line if session.json else show.plain(line).plain, flush=True)
        seen.clear()
        seen.update(now)

    return draw


def _story_lines(record: dict[str, Any]) -> list[str]:
    end = [f"{record['state']}: {record['reason']}"] if _is_settled(record) else []
    return [*show.history(record), *end]


def _is_settled(record: dict[str, Any]) -> bool:
    return not any(one["state"] in show.UNDER_WAY for one in (record, *record.get("promotions", ())))
