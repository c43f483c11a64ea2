"""The rows, and how one is played."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

ROWS = Path(__file__).with_name("rows")


class Refused(Exception):
    """The sandbox refused the input; the text is what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One behaviour.

    `input` is what the probe reads, `given` what else it takes. acr-builder either fails on it, or does what `expect`
    says: a value for each path into the probe's view. Below `includes` are texts in what is there, and `exactly` says
    that a mapping has nothing else. `fails` is a part of the sandbox's sentence where acr-builder fails, too: the words
    that say why, so that another refusal is none. `refuses` is that of a refusal of what acr-builder takes.
    """

    area: str
    id: str
    what: str
    source: str
    input: str
    probe: str = "task"
    given: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    fails: str = ""
    refuses: str = ""


class Verdict(StrEnum):
    """How the sandbox compares with acr-builder on a row."""

    AGREES = "agrees"
    REFUSED = "refused"
    DIFFERS = "DIFFERS"


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a row, and what was seen where it is not the same."""

    row: Row
    verdict: Verdict
    seen: str = ""


Probe = Callable[[Row], Coroutine[Any, Any, Mapping[str, Any]]]
"""Does the row's work with the sandbox's own code and returns a view of what came out. Raises `Refused`."""


def read_rows(folder: Path = ROWS) -> list[Row]:
    """The rows of all files, by area.

    Raises:
        ValueError: two rows have the same id, or one neither expects something nor names the words of its failure.
    """
    rows = [Row(area=file.stem, **row) for file in sorted(folder.glob("*.toml")) for row in _tables(file)]
    known: set[tuple[str, str]] = set()
    for row in rows:
        if (row.area, row.id) in known:
            raise ValueError(f"{row.area}/{row.id} is there twice")
        if not isinstance(row.fails, str) or bool(row.expect) == bool(row.fails):
            raise ValueError(f"{row.area}/{row.id} must either fail with words that say why, or expect something")
        known.add((row.area, row.id))
    return rows


def _tables(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as stream:
        return list(tomllib.load(stream)["row"])


def play(row: Row, probe: Probe) -> Result:
    """Play a row."""
    try:
        view = asyncio.run(probe(row))
    except Refused as refused:
        return _judge(row, str(refused))
    if row.fails:
        return Result(row, Verdict.DIFFERS, f"it is taken: {view}")
    different = "; ".join(_differences(row.expect, view, ""))
    return Result(row, Verdict.DIFFERS if different else Verdict.AGREES, different)


def _judge(row: Row, said: str) -> Result:
    """The verdict on a refusal: one that does not say what the row names is another refusal."""
    words, verdict = (row.fails, Verdict.AGREES) if row.fails else (row.refuses, Verdict.REFUSED)
    return Result(row, verdict if words and words in said else Verdict.DIFFERS, said)


def _differences(expected: object, seen: object, path: str) -> Iterator[str]:
    """Where the view is not what is expected: of mappings what is named, all else exactly."""
    if not isinstance(expected, Mapping):
        if expected != seen:
            yield f"{path} is {seen!r}, not {expected!r}"
        return
    for key, value in expected.items():
        place = f"{path}.{key}".lstrip(".")
        if key == "includes":
            yield from (f"{path} has no {part!r}" for part in value if part not in str(seen))
        elif key == "exactly":
            yield from [] if value == seen else [f"{path} is {seen!r}, not {value!r}"]
        elif isinstance(seen, Mapping) and key in seen:
            yield from _differences(value, seen[key], place)
        elif isinstance(seen, list | tuple) and key.isdecimal() and int(key) < len(seen):
            yield from _differences(value, seen[int(key)], place)
        else:
            yield f"there is no {place}"
