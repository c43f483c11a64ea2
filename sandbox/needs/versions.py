"""Whether what is there is new enough. Asking a program takes longer than a start may: answers are kept."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import msgspec

from sandbox.needs.machine import Machine
from sandbox.needs.wanted import NEEDS, Need

_STAMP = "versions.json"
_VERSION = re.compile(r"\d+\.\d+[.\d]*")


class _Seen(msgspec.Struct, frozen=True):
    """What a program said, and when its file was changed; no version where it said none."""

    changed_at: int
    version: str


def outdated(machine: Machine, tools: Path) -> list[str]:
    """A sentence for every program that is older than its need asks for, or does not say how old it is."""
    kept = _read(tools / _STAMP)
    seen, sentences = {}, []
    for need in NEEDS:
        if need.oldest is None or (place := need.place(machine)) is None:
            continue
        seen[str(place)] = _version(machine, place, kept.get(str(place)))
        sentences += _judge(need, need.oldest, place, seen[str(place)].version)
    if seen != kept:
        _write(tools / _STAMP, seen)
    return sentences


def _version(machine: Machine, place: Path, kept: _Seen | None) -> _Seen:
    changed_at = machine.changed_at(place)
    if kept and kept.version and kept.changed_at == changed_at:
        return kept
    match = _VERSION.search(machine.answer((str(place), "--version")))
    return _Seen(changed_at, match[0] if match else "")


def _judge(need: Need, oldest: tuple[int, int], place: Path, version: str) -> list[str]:
    wanted = f"{need.name} {'.'.join(map(str, oldest))} or newer is needed"
    if not version:
        return [f"{wanted}, and `{place} --version` tells no version: install it anew."]
    major, minor = version.split(".")[:2]
    if (int(major), int(minor)) >= oldest:
        return []
    return [
        f"{wanted}, {place} is {version}: install a newer one (Debian 12 and Ubuntu 24.04 have one), "
        f"or put one before it on the PATH."
    ]


def _read(stamp: Path) -> dict[str, _Seen]:
    try:
        return msgspec.json.decode(stamp.read_bytes(), type=dict[str, _Seen])
    except (OSError, msgspec.DecodeError):  # there is none, or another hand was in it: ask again
        return {}


def _write(stamp: Path, seen: dict[str, _Seen]) -> None:
    with contextlib.suppress(OSError):  # without it the next call asks again
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_bytes(msgspec.json.encode(seen))
