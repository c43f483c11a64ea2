"""Promotions, holds and vetoes as people read them."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from basegate_cli.show import brief, more, row, table, when


def promotions(answer: dict[str, Any]) -> RenderableType:
    """A page of the moves of stable tags."""
    lines = table("tag", "number", "moved (UTC)", "to", "unique tag", "by")
    for item in answer["items"]:
        by = item["movedBy"] or brief(item["candidate"])
        row(lines, item["tag"], item["sequence"], when(item["movedAt"]), brief(item["digest"]), item["unique"], by)
    return Group(lines, *more(answer))


def holds(answer: dict[str, Any]) -> RenderableType:
    """The holds that stand."""
    lines = table("gate", "tag", "stands on", "since (UTC)", "until", "by", "why")
    for item in answer["items"]:
        stands = brief(item["digest"]) or "nothing yet"
        row(lines, item["gate"], item["tag"], stands, when(item["at"]), item["until"], item["actor"], item["reason"])
    return lines


def vetoes(answer: dict[str, Any]) -> RenderableType:
    """Vetoes, and by whom they were lifted."""
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
