"""The report of the story: a table for people, `demo-report.json` for programs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from demo.narrator import short_image
from demo.runner import ChapterResult

REPORT = Path("demo-report.json")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All chapters that were played; `complete` means that every chapter ended as expected.

    `outcomes` are the received `Basegate.*` events, in order.
    """

    complete: bool
    chapters: list[ChapterResult]
    preparation_seconds: float
    total_seconds: float
    colour_seconds_median: float | None
    own_seconds_median: float | None
    outcomes: list[dict[str, Any]]
    problem: str = ""


def make_report(
    chapters: Sequence[ChapterResult],
    outcomes: Sequence[dict[str, Any]],
    preparation: float,
    total: float,
    problem: str = "",
) -> Report:
    """The report of a story that was played to its end, or up to a problem."""
    colours = [chapter for chapter in chapters if chapter.own_seconds is not None]
    own = [chapter.own_seconds for chapter in colours if chapter.own_seconds is not None]
    return Report(
        complete=not problem,
        chapters=list(chapters),
        preparation_seconds=round(preparation, 2),
        total_seconds=round(total, 2),
        colour_seconds_median=round(statistics.median([c.seconds for c in colours]), 2) if colours else None,
        own_seconds_median=round(statistics.median(own), 2) if own else None,
        outcomes=list(outcomes),
        problem=problem,
    )


def write_report(report: Report, folder: Path) -> Path:
    """Write `demo-report.json` and return its path."""
    file = folder / REPORT
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return file


def print_report(report: Report, console: Console) -> None:
    """Print the table."""
    table = Table(title="Results", title_justify="left", pad_edge=False)
    for name in ("", "chapter", "outcome", "page", "stable tag", "unique tag", "running", "seconds", "own"):
        table.add_column(name, justify="right" if name in ("seconds", "own") else "left", overflow="fold")
    for played in report.chapters:
        table.add_row(
            str(played.chapter),
            played.title,
            played.outcome,
            played.colour,
            played.stable_digest[7:19],
            ", ".join(played.unique_tags),
            short_image(played.image),
            f"{played.seconds:.1f}",
            "" if played.own_seconds is None else f"{played.own_seconds:.1f}",
        )
    console.print(table)
    if report.colour_seconds_median is not None:
        console.print(
            f"A colour took {report.colour_seconds_median:.1f} s from its commit to the page (median), "
            f"{report.own_seconds_median:.1f} s of them Basegate's own. "
            f"Preparation {report.preparation_seconds:.0f} s, all {report.total_seconds:.0f} s.",
            highlight=False,
        )
