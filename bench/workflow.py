"""What the workflow itself costs, without Azure: admitting, deciding, and the size of what is kept."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from bench.figure import Figure
from bench.memory import services
from shared.domain.candidate import Candidate
from shared.domain.decide_candidate import decide_candidate
from shared.workflow.admit import Admit, Outcome
from tests.fakes import START, World, digest, sample_policy

_EVENTS = 2_000
_ROUNDS = 5
_DECISIONS = 20_000
_FULL_HISTORY = 100
_ROW_LIMIT_BYTES = 1024 * 1024


def measure() -> list[Figure]:
    """The workflow's figures."""
    fresh, duplicate = _admissions()
    decision = _decision()
    one, full = _record_bytes(1), _record_bytes(10 * _FULL_HISTORY)
    return [
        Figure("admit_duplicates", "events/s", "fresh", fresh, "duplicates", duplicate),
        Figure("admit_to_decide", "us", "decide_candidate", decision, "admit, fresh", 1e6 / fresh),
        Figure("record_history", "bytes", "1 line of history", one, f"{_FULL_HISTORY} lines (the most)", full),
        Figure("row_limit", "bytes", "a record with all its history", full, "Azure's limit", _ROW_LIMIT_BYTES),
    ]


def _admissions() -> tuple[float, float]:
    """Events a second, never seen ones and ones that were all seen; the median of five rounds by turns."""
    events = [World().event("15-alpine", digest(str(number))) for number in range(_EVENTS)]
    fresh, duplicate = [], []
    for _ in range(_ROUNDS):
        admit = Admit(services())
        fresh.append(_rate(admit, events, Outcome.CANDIDATE))
        duplicate.append(_rate(admit, events, Outcome.DUPLICATE))
    return statistics.median(fresh), statistics.median(duplicate)


def _rate(admit: Admit, events: Sequence[object], expected: Outcome) -> float:
    began = time.perf_counter()
    outcomes = {admission.outcome for event in events for admission in admit.event(event)}
    seconds = time.perf_counter() - began
    assert outcomes == {expected}, outcomes
    return len(events) / seconds


def _decision() -> float:
    """Microseconds for one decision, over a candidate's states from its admission to its end."""
    gate, states = sample_policy().gates["node"], _states()
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for number in range(_DECISIONS):
            decide_candidate(states[number % len(states)], gate, START)
        times.append((time.perf_counter() - began) / _DECISIONS * 1e6)
    return statistics.median(times)


def _states() -> list[Candidate]:
    """Every state in which the ledger sees a candidate that is promoted."""
    world, seen = World(), []

    def keep(record: object) -> None:
        if isinstance(record, Candidate):
            seen.append(record)

    world.ledger.before_save = keep
    world.push("15-alpine", digest("bench"))
    seen.append(world.candidates()[0])
    world.settle()
    return seen


def _record_bytes(lines: int) -> float:
    """The stored size of a candidate with a verdict after so many different events."""
    candidate = _states()[-1]
    for number in range(lines - len(candidate.history)):
        candidate = candidate.noting(START + timedelta(seconds=number), "watch check", f"run ca{number} goes on")
    kept = msgspec.structs.replace(candidate, history=candidate.history[:lines])
    return float(len(msgspec.json.encode(kept)))
