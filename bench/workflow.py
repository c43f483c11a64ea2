"""The cost of the core itself, without Azure: observing, deciding, and the size of stored records."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

import msgspec

from bench.figure import Figure
from bench.memory import services
from shared.domain.candidate import Candidate, FoundBy
from shared.domain.decide import decide_candidate
from shared.domain.image import Tag
from shared.domain.observation import Change
from shared.intake.observe import Observer, Trigger
from tests.fakes import START, World, digest, sample_policy

_TAGS = 2_000
_ROUNDS = 5
_DECISIONS = 20_000
_FULL_HISTORY = 100
_ROW_LIMIT_BYTES = 1024 * 1024


def measure() -> list[Figure]:
    """The core's figures."""
    fresh, unchanged = _observations()
    decision = _decision()
    one, full = _record_bytes(1), _record_bytes(10 * _FULL_HISTORY)
    return [
        Figure("observe_unchanged", "tags/s", "fresh", fresh, "unchanged", unchanged),
        Figure("observe_to_decide", "us", "decide_candidate", decision, "observe, fresh", 1e6 / fresh),
        Figure("record_history", "bytes", "1 line of history", one, f"{_FULL_HISTORY} lines (the most)", full),
        Figure("row_limit", "bytes", "a record with all its history", full, "Azure's limit", _ROW_LIMIT_BYTES),
    ]


def _observations() -> tuple[float, float]:
    """Readings of tags per second, of new ones and of unchanged ones; the median of rounds by turns."""
    world = World()
    for number in range(_TAGS):
        world.registry.tags["public", f"node:15.{number}"] = digest(str(number))
    fresh, unchanged = [], []
    for _ in range(_ROUNDS):
        observer = Observer(services(world))
        fresh.append(_rate(observer, Change.NEW))
        unchanged.append(_rate(observer, Change.NONE))
    return statistics.median(fresh), statistics.median(unchanged)


def _rate(observer: Observer, expected: Change) -> float:
    gate, tags, trigger = sample_policy().gates["node"], [Tag(f"15.{n}") for n in range(_TAGS)], Trigger(FoundBy.EVENT)
    began = time.perf_counter()
    meanings = {observer.observe(gate, tag, trigger).meaning for tag in tags}
    seconds = time.perf_counter() - began
    assert meanings == {expected}, meanings
    return _TAGS / seconds


def _decision() -> float:
    """Microseconds for one decision, over a candidate's states from its first to its last."""
    gate, states = sample_policy().gates["node"], _states()
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for number in range(_DECISIONS):
            decide_candidate(states[number % len(states)], gate, START)
        times.append((time.perf_counter() - began) / _DECISIONS * 1e6)
    return statistics.median(times)


def _states() -> list[Candidate]:
    """A candidate that passes, after each of its steps."""
    world, seen = World(), []

    def keep(record: object) -> None:
        if isinstance(record, Candidate):
            seen.append(record)

    world.ledger.before_save = keep
    world.push("15-alpine", digest("bench"))
    world.settle()
    return seen


def _record_bytes(lines: int) -> float:
    """The stored size of a candidate with a verdict after a number of different events."""
    candidate = _states()[-1]
    for number in range(lines - len(candidate.history)):
        candidate = candidate.noting(START + timedelta(seconds=number), "watch check", f"run ca{number} goes on")
    cut = msgspec.structs.replace(candidate, history=candidate.history[:lines])
    return float(len(msgspec.json.encode(cut)))
