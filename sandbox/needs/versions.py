"""Checks that programs are new enough. Running them takes longer than a start may: their versions are cached."""

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
    """The version that a program reported ("" if none), and when its file was changed."""

    changed_at: int
    version: str


def outdated(machine: Machine, tools: Path) -> list[str]:
    """A sentence for every program that is older than required, or does not report its version."""
    cached = _read(tools / _STAMP)
    seen, sentences = {}, []
    for need in NEEDS:
        if need.oldest is None or (place := need.place(machine)) is None:
            continue
        seen[str(place)] = _version(machine, place, cached.get(str(place)))
        sentences += _judge(need, need.oldest, place, seen[str(place)].version)
    if seen != cached:
        _write(tools / _STAMP, seen)
    return sentences


def _version(machine: Machine, place: Path, cached: _Seen | None) -> _Seen:
    changed_at = machine.changed_at(place)
    if cached and cached.version and cached.changed_at == changed_at:
        return cached
    match = _VERSION.search(machine.answer((str(place), "--version")))
    return _Seen(changed_at, match[0] if match else "")


def _judge(need: Need, oldest: tuple[int, int], place: Path, version: str) -> list[str]:
    required = f"{need.name} {'.'.join(map(str, oldest))} or newer is needed"
    if not version:
        return [f"{required}, and `{place} --version` prints no version: install it again."]
    major, minor = version.split(".")[:2]
    if (int(major), int(minor)) >= oldest:
        return []
    return [
        f"{required}, {place} is {version}: install a newer one (Debian 12 and Ubuntu 24.04 have one), "
        f"or put one before it on the PATH."
    ]


def _read(stamp: Path) -> dict[str, _Seen]:
    try:
        return msgspec.json.decode(stamp.read_bytes(), type=dict[str, _Seen])
    except (OSError, msgspec.DecodeError):  # missing, or modified by hand: run the programs again
        return {}


def _write(stamp: Path, seen: dict[str, _Seen]) -> None:
    with contextlib.suppress(OSError):  # if it fails, the next call runs the programs again
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_bytes(msgspec.json.encode(seen))
